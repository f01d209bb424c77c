// Package dnp3 is a DNP3 outstation (IEEE 1815, subset level 3 and what is
// named in docs/dnp3.md): a database of points, buffers of events, and one
// session per master.
//
// The package is pure: no sockets, no clock, no goroutines. The caller says
// what arrived and when, sends what [Conn.Output] returns, and wakes the
// outstation at [Outstation.Deadline]. Every exchange can therefore be replayed
// from octets and every timer tested without waiting. Package dnp3net serves an
// outstation over TCP and TLS.
//
// # In use
//
// A program describes its points and masters in a [Config], makes an
// [Outstation] with [New], tells it values with [Outstation.Update], and
// implements [Controls] where masters may operate something. With dnp3net:
//
//	server, err := dnp3net.Listen(dnp3net.Config{
//		Listen: "127.0.0.1:20000",
//		Station: dnp3.Config{
//			Address:  1024,
//			Masters:  []dnp3.Master{{Address: 1}},
//			Points:   []dnp3.Point{{Type: dnp3.AnalogInput, Index: 0, Class: dnp3.Class2, Deadband: 1}},
//			Controls: handler,
//		},
//	})
//	go server.Run(ctx)
//	server.Update(dnp3.Change{Type: dnp3.AnalogInput, Index: 0, Number: 241.3, Flags: dnp3.Online, Time: now.UnixMilli()})
//
// # What is promised
//
//   - An event is deleted only when the master confirmed the very fragment that
//     carried it. Whatever else happens it is sent again; it may come twice, it
//     is never lost but to a full buffer, which the master is told of.
//   - A control acts once. A request repeated by the master is answered again
//     and does not act again.
//   - What is not a number is never sent. A point that was never written has the
//     flag RESTART and not ONLINE.
//   - Octets from a hostile peer cost bounded memory, bounded work, and no panic.
//
// Each master has its own session: its own events, its own class assignments,
// its own restart indication. Values, deadbands and counters are shared.
//
// Requirement: SmartCAR R4, R16, R20 (state over the RTU's IED bus).
package dnp3
