// Reads and writes Sparkplug payloads with a library that is not ours.
//
//   node judge.js decode < lines of {"topic", "payload" in base64}
//   node judge.js encode < lines of payloads in the library's own form
//
// Data messages carry no datatype: like a host, decode takes it from the birth.
const sparkplug = require('sparkplug-payload').get('spBv1.0');
const { Payload } = require('sparkplug-payload/lib/sparkplugPayloadProto.js').org.eclipse.tahu.protobuf;
const Long = require('long');

const plain = (key, value) => (Long.isLong(value) ? value.toNumber() : value);
const lines = require('fs').readFileSync(0, 'utf8').split('\n').filter((l) => l);
const declared = {};

function decode(line) {
  const { topic, payload } = JSON.parse(line);
  const raw = Payload.decode(Buffer.from(payload, 'base64'));
  const [, group, kind, node, device] = topic.split('/');
  const birth = kind.endsWith('BIRTH');
  for (const m of raw.metrics) {
    const key = [group, node, device, m.name].join('/');
    const own = Object.prototype.hasOwnProperty.call(m, 'datatype');
    if (birth) declared[key] = m.datatype;
    if (!own && declared[key] !== undefined) m.datatype = declared[key];
    m.bare = !own;
  }
  const decoded = sparkplug.decodePayload(Payload.encode(raw).finish());
  decoded.metrics = (decoded.metrics || []).map((m, i) => ({
    name: m.name, type: m.type, value: m.value, timestamp: m.timestamp,
    historical: !!m.isHistorical, null: m.value === null, bare: raw.metrics[i].bare,
    quality: m.properties && m.properties.Quality ? m.properties.Quality.value : null,
  }));
  return JSON.stringify({ topic, payload: decoded }, plain);
}

function encode(line) {
  return Buffer.from(sparkplug.encodePayload(JSON.parse(line))).toString('base64');
}

const run = { decode, encode }[process.argv[2]];
for (const line of lines) console.log(run(line));
