package dnp3net_test

import (
	"context"
	"fmt"
	"time"

	"lvagent/dnp3"
	"lvagent/dnp3/dnp3net"
	"lvagent/dnp3/dnp3test"
)

// An outstation with one analog input, and a master that reads it.
func Example() {
	server, err := dnp3net.Listen(dnp3net.Config{
		Listen: "127.0.0.1:0",
		Station: dnp3.Config{
			Address: 1024,
			Masters: []dnp3.Master{{Address: 1}},
			Points:  []dnp3.Point{{Type: dnp3.AnalogInput, Index: 300, Class: dnp3.Class2, Deadband: 1}},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error)
	go func() { ended <- server.Run(ctx) }()

	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	if err := server.Update(dnp3.Change{Type: dnp3.AnalogInput, Index: 300, Number: 241.5, Flags: dnp3.Online, Time: at.UnixMilli()}); err != nil {
		fmt.Println(err)
	}

	master, err := dnp3test.Dial(server.Addr().String(), dnp3test.Config{Address: 1, Outstation: 1024})
	if err != nil {
		fmt.Println(err)
		return
	}
	poll, err := master.IntegrityPoll()
	for _, o := range poll.Objects {
		fmt.Println(o)
	}
	fmt.Println(err, master.Close())
	cancel()
	fmt.Println(<-ended)
	// Output:
	// g32v7[300] 241.5 flags 01 at 1795608000000
	// g30v5[300] 241.5 flags 01
	// <nil> <nil>
	// <nil>
}
