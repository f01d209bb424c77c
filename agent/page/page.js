"use strict";
// The page shows what the agent says. What is not known is "–", never 0; what is
// old is greyed with its age.
const $ = id => document.getElementById(id);
const phases = ["L1", "L2", "L3"];
let me = {needed: false, in: false, role: "viewer"}, source = null, heardAt = 0, agentAt = 0, past = {}, shown = null;

function el(tag, attributes, ...inside) {
  const svg = ["svg", "path", "line", "rect", "title"].includes(tag);
  const e = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
  e.append(...inside.filter(x => x !== null && x !== undefined));
  return e;
}
// put replaces what is inside, where it differs: a screen reader is not told
// again what has not changed, and the focus stays.
function put(e, ...inside) {
  const next = el("div", {}, ...inside);
  if (next.innerHTML === e.innerHTML) return;
  const held = document.activeElement && e.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  e.replaceChildren(...next.childNodes);
  if (held) { const again = [...e.querySelectorAll("[data-key]")].find(x => x.dataset.key === held); if (again) again.focus(); }
}
const known = x => x !== null && x !== undefined;
const num = (x, digits) => known(x) ? x.toFixed(digits) : "–";
function span(seconds) {
  if (seconds < 90) return Math.round(seconds) + " s";
  if (seconds < 5400) return Math.round(seconds / 60) + " min";
  if (seconds < 172800) return Math.round(seconds / 3600) + " h";
  return Math.round(seconds / 86400) + " d";
}
// Ages are told by the agent's clock, not by the phone's.
const ago = t => known(t) ? span(Math.max(0, (agentAt - Date.parse(t)) / 1000)) : "–";
const grade = s => ({FREE: "ok", LIMITED: "warn", RESTORING: "warn", ok: "ok", CONFIRMED: "ok", degraded: "warn", failed: "bad", FAILSAFE: "bad", PROBATION: "warn", INIT: "warn", LOCKOUT: "bad"}[s] || "warn");
const tag = (text, kind) => el("span", {class: "tag " + kind}, text);
const worded = s => (s || "").toLowerCase().replaceAll("_", " ");

function way(w, status) {
  const now = (status.ways || []).find(x => x.way === w.id) || {amps: [], volts: [], age_s: null};
  const fs = ((status.failsafe || {}).ways || {})[w.id];
  const fresh = known(now.age_s) && now.age_s < 60;
  const rows = phases.map((name, p) => {
    const rating = w.rating[p];
    if (!rating) return null;
    const amps = fresh ? now.amps[p] : null, share = known(amps) ? Math.abs(amps) / rating : null;
    const level = share === null ? "" : share > 1 ? "bad" : share > .88 ? "warn" : "";
    const fill = el("i", {class: level});
    fill.style.width = Math.min(100, (share || 0) * 100) + "%";
    const said = known(share) ? `${num(amps, 0)} A of ${rating.toFixed(0)} A, ${Math.round(share * 100)} %` : "not measured";
    const bar = el("div", {class: "bar", role: "meter", "aria-label": `${w.id} ${name}`, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round((share || 0) * 100), "aria-valuetext": said}, fill);
    return el("div", {class: "phase"}, el("b", {}, name), bar,
      el("span", {class: level}, `${num(amps, 0)} / ${rating.toFixed(0)} A${known(share) ? " " + Math.round(share * 100) + " %" : ""}`),
      el("span", {class: "dim"}, (fresh ? num(now.volts[p], 1) : "–") + " V"));
  });
  const why = fs ? `${worded(fs.cause)} for ${ago(fs.since)}; ${fs.rule || ""}` + (fs.ends ? `. Ends by: ${fs.ends}` : "") : "";
  return el("article", {"aria-label": `${w.id} ${w.name}`},
    el("div", {class: "top"}, el("h3", {}, `${w.id} ${w.name || ""}`), fs ? tag(fs.state, grade(fs.state)) : null),
    ...rows,
    el("p", {}, `Neutral ${fresh ? num(now.neutral_a, 0) : "–"} A · ${known(now.age_s) ? "measured " + span(now.age_s) + " ago" : "not measured yet"}`),
    why ? el("p", {}, why) : null, chart(w));
}

// chart draws the last 48 periods of each phase against the rating; what was not
// measured is a grey gap.
function chart(w) {
  const periods = past[w.id] || [];
  const top = Math.max(...w.rating, 1, ...periods.flatMap(p => p.a.filter(known))) * 1.05, n = 48, length = shown.period_s * 1000;
  const end = agentAt - agentAt % length, x = t => (n - Math.round((end - Date.parse(t)) / length)) * 10, y = a => 60 - 58 * a / top;
  const svg = el("svg", {viewBox: "0 0 480 62", preserveAspectRatio: "none", role: "img", "aria-label": `${w.id}: the last ${periods.length} of 48 periods, highest ${num(Math.max(0, ...periods.flatMap(p => p.a.filter(known))), 0)} A against ${Math.max(...w.rating).toFixed(0)} A`});
  const have = new Set(periods.filter(p => p.a.some(known)).map(p => x(p.t)));
  for (let i = 0; i < n; i++) if (!have.has(i * 10)) svg.append(el("rect", {class: "gap", x: i * 10, y: 60, width: 10, height: 2}));
  svg.append(el("line", {class: "rating", x1: 0, x2: 480, y1: y(Math.max(...w.rating)), y2: y(Math.max(...w.rating)), "vector-effect": "non-scaling-stroke"}));
  phases.forEach((_, p) => {
    let d = "", last = null;
    for (const q of periods) {
      if (!known(q.a[p])) { last = null; continue; }
      const at = x(q.t);
      if (at < 0) continue;
      d += `${last === null || at - last > 10 ? "M" : "L"}${at},${y(q.a[p]).toFixed(1)}H${at + 10}`;
      last = at;
    }
    if (d) svg.append(el("path", {class: "l" + (p + 1), d}));
  });
  return svg;
}

const perPhase = o => known(o) ? phases.filter(p => known(o[p])).map(p => `${p} ${num(o[p].import, 0)}`).join(" · ") + " A" : "–";

function draw(s) {
  shown = s;
  const st = s.status, fs = st.failsafe || {}, health = st.health || {}, groups = (st.groups || {}).groups || {};
  agentAt = Date.parse(st.t);
  document.title = `${st.agent} ${fs.state || ""}`;
  $("site").textContent = s.name || st.agent;
  $("about").textContent = `${st.agent} · ${st.version} · clock ${st.clock} · up ${ago(st.since)}`;
  const up = st.uplink || {}, alarms = st.alarms || [];
  put($("summary"), tag("Failsafe: " + (fs.state || "–"), grade(fs.state)), tag("Health: " + (health.state || "–"), grade(health.state)),
    tag(up.Connected ? "Broker connected" : "No broker", up.Connected ? "ok" : "bad"), tag(`Backlog ${st.backlog}`, st.backlog > 10 ? "warn" : "ok"),
    tag(alarms.length ? `${alarms.length} alarm${alarms.length > 1 ? "s" : ""}` : "No alarm", alarms.length ? "bad" : "ok"));
  $("alarm-box").hidden = !alarms.length;
  put($("alarms"), ...alarms.map(id => el("li", {}, tag(id, "bad"), el("button", {type: "button", class: "op", "data-ack": id, "data-key": "ack " + id, "aria-label": "Acknowledge " + id}, "Acknowledge"))));
  put($("ways"), ...s.ways.map(w => way(w, st)));
  put($("groups"), ...Object.entries(groups).map(([id, g]) => el("tr", {}, el("td", {}, id), el("td", {}, g.way), el("td", {}, perPhase(g.limit)), el("td", {}, perPhase(g.feedback)),
    el("td", {class: grade(g.state)}, worded(g.state)), el("td", {}, g.deciding + (g.command ? " " + g.command : "")),
    el("td", {class: "op"}, el("button", {type: "button", "data-override": id, "data-key": "override " + id, "aria-label": "Override " + id}, "Override…")))));
  put($("overrides"), ...(fs.override || []).map(o => el("li", {}, `${o.target}: ${worded(o.kind)} by ${o.by} (${o.source}), ${o.why}, until ${o.expires}`)));
  put($("links"), el("dt", {}, "Broker"), el("dd", {}, up.Connected ? `connected for ${ago(up.Since)}` : `not connected for ${ago(up.Since)}`),
    el("dt", {}, "Waiting to be sent"), el("dd", {}, `${st.backlog} records`),
    el("dt", {}, "Clock"), el("dd", {}, `${st.clock}, ${st.t.slice(0, 19).replace("T", " ")} UTC`),
    el("dt", {}, "Certificate"), el("dd", {}, st.certificate_expires ? "until " + st.certificate_expires.slice(0, 10) : "none in use"));
  const order = {failed: 0, degraded: 1};
  put($("health"), ...Object.entries(health.points || {}).sort((a, b) => (order[a[1].state] ?? 2) - (order[b[1].state] ?? 2) || a[0].localeCompare(b[0]))
    .map(([id, h]) => el("tr", {}, el("td", {}, id), el("td", {class: grade(h.state)}, h.state), el("td", {}, ago(h.since)), el("td", {}, [worded(h.code), h.detail].filter(Boolean).join(": ")))));
}

function age() {
  if (!source) return;
  const old = Date.now() - heardAt, stale = old > 5000;
  document.body.classList.toggle("old", stale && heardAt > 0);
  $("age").textContent = !heardAt ? "connecting…" : stale ? `Not live: last heard ${span(old / 1000)} ago` : "live";
}

async function remember() {
  try {
    const r = await fetch("history");
    if (r.ok) { past = await r.json(); if (shown) draw(shown); }
  } catch { /* the page says that it is not live */ }
}

function open() {
  close();
  $("board").hidden = false;
  source = new EventSource("live");
  source.onmessage = e => { heardAt = Date.now(); draw(JSON.parse(e.data)); age(); };
  source.addEventListener("end", signedOut);
  source.onerror = () => { if (source && source.readyState === EventSource.CLOSED) session(); };
  remember();
}
function close() { if (source) source.close(); source = null; }
function signedOut() {
  close();
  heardAt = 0;
  me.in = false;
  shown = null;
  past = {};
  for (const id of ["summary", "alarms", "ways", "groups", "overrides", "links", "health"]) $(id).replaceChildren(); // nothing stays for the next one
  enter();
}

function enter() {
  document.body.classList.toggle("operator", me.in && me.role === "operator");
  $("person").hidden = !(me.needed && me.in);
  $("who").textContent = me.in && me.name ? `${me.name}, ${me.role}` : "";
  $("door").hidden = !me.needed || me.in;
  if (me.in) return open();
  $("board").hidden = true;
  $("age").textContent = "signed out";
  document.querySelector("#door input").focus();
}
async function session() {
  try {
    const r = await fetch("session");
    me = await r.json();
    enter();
  } catch {
    age();
    setTimeout(session, 3000);
  }
}
const send = (what, body, method = "POST") => fetch(what, {method, headers: {"Content-Type": "application/json"}, body: body && JSON.stringify(body)});

$("door").addEventListener("submit", async e => {
  e.preventDefault();
  const f = new FormData(e.target);
  $("denied").textContent = "";
  try {
    const r = await send("session", {name: f.get("name"), password: f.get("password")});
    if (!r.ok) { $("denied").textContent = (await r.text()).trim(); return; }
    e.target.reset();
    me = await r.json();
    enter();
  } catch { $("denied").textContent = "The agent does not answer."; }
});
$("out").addEventListener("click", async () => { try { await send("session", null, "DELETE"); } catch { /* gone anyway */ } signedOut(); });

document.addEventListener("click", async e => {
  const t = e.target;
  if (t.dataset.override) {
    $("ask").dataset.target = t.dataset.override;
    $("ask-title").textContent = "Override " + t.dataset.override;
    $("refused").textContent = "";
    $("release").hidden = !shown || !shown.local;
    $("ask").showModal();
  } else if (t.dataset.ack) {
    t.disabled = true;
    const r = await send("ack", {alarm: t.dataset.ack});
    $("said").textContent = r.ok ? "" : (await r.text()).trim();
    if (!r.ok) t.disabled = false;
  }
});
$("ask").querySelector("form").addEventListener("submit", async e => {
  if (e.submitter.value === "no") return;
  e.preventDefault();
  const f = new FormData(e.target), kind = f.get("kind"), o = {target: $("ask").dataset.target, kind, why: f.get("why")};
  if (kind !== "clear") o.for = f.get("for");
  if (kind === "limit") o.amps = Number(f.get("amps"));
  if (kind === "limit" && f.get("amps") === "") { $("refused").textContent = "Say to how many A."; return; }
  try {
    const r = await send("override", o);
    const said = r.ok ? await r.json() : null;
    if (!r.ok) $("refused").textContent = (await r.text()).trim();
    else if (said.stage === "rejected") $("refused").textContent = "Refused: " + worded(said.code);
    else { e.target.reset(); $("ask").close(); }
  } catch { $("refused").textContent = "The agent does not answer."; }
});
setInterval(age, 1000);
setInterval(remember, 60000);
session();
