// Package scenario is the language of the bench: what is given, what is done
// when, and what must then be seen, as a person reads and writes it in YAML.
//
// [Parse] finds every fault of a file at once, each with its line and key path;
// [Scenario.Check] finds what can never be true on a site. [Evaluate] judges a
// [Timeline] of observations: it is a pure function, so that a verdict can be
// computed again from the evidence that was kept. Nothing here runs anything.
//
// Requirements: those that a scenario names; the language serves all of them.
package scenario

import "time"

// Scenario is one promise and the story that proves it.
type Scenario struct {
	Promise      string   `yaml:"promise" doc:"What holds, in one sentence." need:"yes"`
	Requirements []string `yaml:"requirements" doc:"Ids of the requirements that it proves, like R7." need:"yes"`
	About        string   `yaml:"about" doc:"What a reader should know besides, like the fault that it would find."`
	Given        Given    `yaml:"given" doc:"How things stand at the start."`
	Steps        []Step   `yaml:"steps" doc:"What is done, and what must then be seen." need:"yes"`

	File string `yaml:"-"`
	Name string `yaml:"-"` // theme/file, without .yaml
}

// Given is how things stand when the agent has come online.
type Given struct {
	Site       Tree            `yaml:"site" doc:"Keys of the agent's site file that differ from the bench's. Lists with ids are merged by id."`
	Heartbeats *bool           `yaml:"heartbeats" doc:"Whether the centre sends heartbeats. Default true."`
	Released   bool            `yaml:"released" doc:"Begin only when the centre has said none for every way and every group is permitted its rating."`
	Load       map[string]Load `yaml:"load" doc:"What each way carries besides charging. Default 40 A on each phase at 235 V."`
	Cars       map[string]Amps `yaml:"cars" doc:"What the cars of each group want to draw, in A on each of its phases. Default none."`
	DNP3       bool            `yaml:"dnp3" doc:"Whether a DNP3 master polls the agent. It does anyway where a step needs it."`
}

// Load is what one way carries besides charging, or one of its values on all
// phases when it is one number.
type Load struct {
	L1 *Amps    `yaml:"L1" doc:"A; below 0 it flows to the busbar."`
	L2 *Amps    `yaml:"L2" doc:"A"`
	L3 *Amps    `yaml:"L3" doc:"A"`
	V  *float64 `yaml:"volts" doc:"V on each phase."`
	V1 *float64 `yaml:"volts_L1" doc:"V on L1 alone."`
	V2 *float64 `yaml:"volts_L2" doc:"V on L2 alone."`
	V3 *float64 `yaml:"volts_L3" doc:"V on L3 alone."`
}

// Amps is a current.
type Amps float64

// Step is what is done at a time and what must be seen after it.
type Step struct {
	At    *Span         `yaml:"at" doc:"When, since the start, as +5m. Without it the step comes when everything that earlier steps wait for has been seen."`
	After time.Duration `yaml:"after" doc:"So much later than what earlier steps wait for."`
	When  When          `yaml:"when" doc:"What is done, in the order of this table."`
	Then  []Expectation `yaml:"then" doc:"What must be seen; times count from the step."`

	Line int `yaml:"-"`
}

// When is what is done.
type When struct {
	Heartbeats *bool           `yaml:"heartbeats" doc:"The centre sends heartbeats, or stops."`
	Load       map[string]Load `yaml:"load" doc:"What ways carry besides charging; what is not named stays."`
	Cars       map[string]Amps `yaml:"cars" doc:"What the cars of groups want to draw, in A on each phase."`
	Meter      *MeterFault     `yaml:"meter" doc:"A meter fails, or is well again."`
	Actuator   *ActuatorFault  `yaml:"actuator" doc:"A group's controller fails, or is well again."`
	Register   *Register       `yaml:"register" doc:"Somebody else writes a group's register."`
	Release    []string        `yaml:"release" doc:"The centre says none for these ways."`
	Command    *Command        `yaml:"command" doc:"The centre sends a command."`
	Broker     string          `yaml:"broker" doc:"What becomes of the broker, or of the link to it." one:"cut,restore,freeze,thaw,kill,start"`
	Files      *Files          `yaml:"files" doc:"Files of the agent's store are damaged. Stop or kill the agent before."`
	Site       Tree            `yaml:"site" doc:"Keys of the site file that change; the agent learns of it by agent: reload."`
	Agent      []string        `yaml:"agent" doc:"What becomes of the agent's process, one after the other." one:"kill,stop,start,freeze,thaw,reload"`
	Run        string          `yaml:"run" doc:"A command line of lvagent on the RTU, like: status --json."`
	DNP3       *Operate        `yaml:"dnp3" doc:"The DNP3 master operates a point."`
}

// MeterFault is what is wrong with the meter of a way.
type MeterFault struct {
	Way   string        `yaml:"way" doc:"Id of the way." need:"yes"`
	Fault string        `yaml:"fault" doc:"What is wrong." need:"yes" one:"none,mute,exception,short_frame,garbage,wrong_transaction,wrong_unit,drop,late,nan,sentinel,truncated,bad_length,frozen,swapped"`
	Code  int           `yaml:"code" doc:"Of an exception: its code. Default 4."`
	Delay time.Duration `yaml:"delay" doc:"Of late: how late."`
	Times int           `yaml:"times" doc:"How many requests it lasts. Default until none."`
}

// ActuatorFault is what is wrong with the controller of a group.
type ActuatorFault struct {
	Group string        `yaml:"group" doc:"Id of the group." need:"yes"`
	Fault string        `yaml:"fault" doc:"What is wrong. stuck: it confirms and does not take; ignored: it takes, and the cars do not obey; lost: it forgets, and permits everything." need:"yes" one:"none,mute,exception,drop,late,garbage,stuck,ignored,lost"`
	Delay time.Duration `yaml:"delay" doc:"Of late: how late."`
}

// Register is a group's register as somebody else writes it.
type Register struct {
	Group   string `yaml:"group" doc:"Id of the group." need:"yes"`
	Percent int    `yaml:"percent" doc:"Of the group's rating."`
}

// Command is one command of the centre. The bench fills in id, issuer, epoch,
// seq, issued and expires where the body does not say otherwise.
type Command struct {
	Name     string        `yaml:"name" doc:"The command: limit, cancel, override, …" need:"yes"`
	As       string        `yaml:"as" doc:"What later steps call it. Default its name."`
	Body     Tree          `yaml:"body" doc:"Its fields. $x stands for the id of the command called x, $x.seq for its number; +5m for that time from now."`
	Again    string        `yaml:"again" doc:"Send the very octets of the command called so once more, instead of a body."`
	Raw      string        `yaml:"raw" doc:"Octets that are sent instead of a body."`
	Fill     int           `yaml:"fill" doc:"Send so many octets of nonsense instead of a body."`
	Expires  time.Duration `yaml:"expires" doc:"From now; below 0 it is over already. Default 60s."`
	Retained bool          `yaml:"retained" doc:"Publish it retained."`
	Times    int           `yaml:"times" doc:"Send it so often, each with an id and a number of its own."`
}

// Files are files of the agent's store that are damaged.
type Files struct {
	Match string `yaml:"match" doc:"Which, as a pattern of names in the store's folder." need:"yes"`
	How   string `yaml:"how" doc:"truncate to half, zero all octets, or remove." need:"yes" one:"truncate,zero,remove"`
}

// Operate is what the DNP3 master operates.
type Operate struct {
	Analog *int     `yaml:"analog" doc:"Index of an analog output."`
	Value  float64  `yaml:"value" doc:"Its value."`
	Binary *int     `yaml:"binary" doc:"Index of a binary output."`
	On     *bool    `yaml:"on" doc:"LATCH_ON or LATCH_OFF. Default on."`
	Status *float64 `yaml:"status" doc:"The status that the outstation must answer with. Default 0."`
}

// Expectation is something that must be seen, or must not.
type Expectation struct {
	// When: one of these.
	Within     time.Duration `yaml:"within" doc:"Seen at least once in this time."`
	Always     *Span         `yaml:"always" doc:"Holds all this time, or to the end."`
	Never      *Span         `yaml:"never" doc:"Not seen all this time, or to the end."`
	Eventually bool          `yaml:"eventually" doc:"Seen before the end; to be true."`
	Finally    bool          `yaml:"finally" doc:"Holds at the end; to be true."`

	After time.Duration `yaml:"after" doc:"The time begins so much after the step."`
	For   time.Duration `yaml:"for" doc:"Of within: it must then stay so for this time."`
	Times int           `yaml:"times" doc:"Of within, for what happens: exactly so often."`
	Least int           `yaml:"at_least_times" doc:"Of within, for what happens: so often or more."`

	// What: one of these.
	Permitted *Permitted `yaml:"permitted" doc:"What the register of a group permits, in A on each phase."`
	Written   *Permitted `yaml:"written" doc:"A write to the register of a group, in A on each phase."`
	Carried   *Carried   `yaml:"carried" doc:"What a phase of a way carries in the simulated street, in A."`
	Message   *Topic     `yaml:"message" doc:"A message."`
	State     *Topic     `yaml:"state" doc:"The latest message on a topic."`
	Alarm     *Alarm     `yaml:"alarm" doc:"A raise or a clear on up/alarm."`
	Active    *Active    `yaml:"active" doc:"An alarm stands, by the retained up/alarmstate."`
	Ack       *Ack       `yaml:"ack" doc:"A step of a command, on up/ack."`
	Audit     *Audit     `yaml:"audit" doc:"A record on up/audit."`
	Records   *Records   `yaml:"records" doc:"All numbers of all streams arrived: none missing, none changed, none out of order, no period without a record. Only finally."`
	DNP3      *Point     `yaml:"dnp3" doc:"A DNP3 point, as the master polls it."`
	Output    *Output    `yaml:"output" doc:"What the last lvagent command line of run printed."`
	Agent     string     `yaml:"agent" doc:"Whether the agent's process runs." one:"running,ended"`

	Line int `yaml:"-"`
}

// Permitted bounds the current that a register stands for.
type Permitted struct {
	Group string `yaml:"group" doc:"Id of the group." need:"yes"`
	Bounds
}

// Carried bounds the current of a phase.
type Carried struct {
	Way   string `yaml:"way" doc:"Id of the way." need:"yes"`
	Phase string `yaml:"phase" doc:"L1, L2 or L3." need:"yes" one:"L1,L2,L3"`
	Bounds
}

// Bounds are those of a number; both ends belong to it.
type Bounds struct {
	Is      *float64 `yaml:"is" doc:"So much, but for the rounding of a register: half a per cent of the rating above, one below."`
	AtLeast *float64 `yaml:"at_least" doc:"So much or more, with the same tolerance."`
	AtMost  *float64 `yaml:"at_most" doc:"So much or less, with the same tolerance."`
}

// Topic is a message and what is in it.
type Topic struct {
	Topic string `yaml:"topic" doc:"Without the agent's prefix: up/hh/W1. A last level # stands for all below." need:"yes"`
	Where Where  `yaml:"where" doc:"Values by path, like ways.W1.state or alarms[*].id."`
}

// Alarm is a raise or clear.
type Alarm struct {
	ID    string `yaml:"id" doc:"Like W1.L1.i.hi or W1.STALE." need:"yes"`
	Edge  string `yaml:"edge" doc:"raise or clear. Default raise." one:"raise,clear"`
	Where Where  `yaml:"where" doc:"Further values by path."`
}

// Active is an alarm that stands.
type Active struct {
	ID string `yaml:"id" doc:"Like W1.STALE." need:"yes"`
}

// Ack is a step of a command.
type Ack struct {
	Command string `yaml:"command" doc:"What the command was called."`
	Stage   string `yaml:"stage" doc:"The step." one:"received,rejected,scheduled,active,actuated,effective,completed,cancelled,superseded"`
	Code    string `yaml:"code" doc:"Its code, like EXPIRED."`
	Where   Where  `yaml:"where" doc:"Further values by path."`
}

// Audit is an audit record.
type Audit struct {
	Where Where `yaml:"where" doc:"Values by path." need:"yes"`
}

// Records is the completeness of all streams.
type Records struct {
	AtLeast int `yaml:"at_least" doc:"So many half-hour records must be there, or it proves nothing." need:"yes"`
}

// Point is a DNP3 point.
type Point struct {
	Binary *int  `yaml:"binary" doc:"Index of a binary input."`
	On     *bool `yaml:"on" doc:"What a binary input is. Default true."`
	Analog *int  `yaml:"analog" doc:"Index of an analog input."`
	Bounds
}

// Output is what a command line printed.
type Output struct {
	Contains string `yaml:"contains" doc:"Text that is in it."`
	Exit     *int   `yaml:"exit" doc:"Exit code. Default any."`
}

// Tree is a part of a YAML file that is passed on as it is.
type Tree map[string]any

// Span is a time or "end".
type Span struct {
	For time.Duration
	End bool
}

// Where is what must be in a message, in the order of the file.
type Where []Term

// Term is one value of a message by its path.
type Term struct {
	Path  string
	Match Match
}

// Match is what a value must be. Without any other part it equals Value.
type Match struct {
	Equal    bool
	Value    any // string, float64, bool or nil
	Above    *float64
	Below    *float64
	AtLeast  *float64
	AtMost   *float64
	Not      *any
	Contains *string
	OneOf    []any
	Exists   *bool
}

// Longest is the longest time that a scenario may name: a bench runs in wall
// time, and what takes longer is a typing error.
const Longest = time.Hour
