// Package buffer keeps records on disk until someone says that they were taken.
//
// A [Store] is a durable, bounded queue of opaque records: the newest in one
// bbolt file, the others in segment files beside it. It decides what is on disk,
// in which order it is handed out, and what goes first when there is no more
// room. It does not know what a record means, does not send anything, holds no
// clock and starts no goroutine. It knows nothing of the rest of the agent and
// can be used without it.
//
// # Model
//
// Records belong to streams. Within a stream they are numbered 1, 2, 3 and so
// on; a number is stored in the same transaction as its record and never used
// again. Records leave a stream at its front only: because they were
// acknowledged and are not kept any longer, or because a limit was reached. What
// is stored of a stream is therefore always the unbroken run First to Next-1; of
// that, the records up to Acked were acknowledged, and are kept to be read once
// more.
//
// Each store has a generation. It grows by one whenever a store is replaced,
// and is also kept in a file of its own (path + ".generation"), so that it
// outlives the store. A reader who has seen (generation, stream, number) has
// seen that record, for ever.
//
// # Promises
//
//   - When [Store.Commit] returns nil, everything in the batch is on disk. When
//     it returns an error, nothing of it is, and it may be tried again, but that
//     on a full disk its acknowledgements may have been taken. The one exception
//     is [ErrInDoubt]: the disk failed twice in a row at the very last
//     write, and only closing and opening the store shows what it holds.
//   - A batch is one transaction: after a crash either all of it is there or
//     nothing.
//   - A limit takes acknowledged records first, which is not worth a word. One
//     that was not is dropped only for a limit, oldest first, and never in silence:
//     each drop leaves one record made by Options.Tell per stream and commit, in
//     the same transaction. Records that tell of drops go last of all; if they
//     must go, that is told as well.
//   - A limit holds after every commit. Only the records that tell of this very
//     commit's drops may exceed it.
//   - A record that was altered on disk is never handed out: its checksum shows
//     it, and Read returns a [TornError] with its number.
//   - On a full disk acknowledged records go, whole segments first, until the
//     commit succeeds; then what waits of classes with a lower DropRank than all
//     that the batch appends, which is told. Then only is it an error. What
//     matters as much or more stays.
//   - A store that is damaged is an error, not a crash, also where bbolt itself
//     would panic or fault. [OpenOrReplace] sets it aside and starts a new one.
//
// # Files
//
// What is committed goes into bbolt's file. [Store.Tidy] moves the older half of
// a class into a segment (path + ".d/") once there is more than Options.Chunk of
// it: it writes the segment, syncs it, and then in one transaction takes the
// records out of bbolt's file and enters where they are. A segment is never
// changed; when its last record has left it is deleted. So bbolt's file stays
// small, whatever the length of the queue, and with it what a commit writes and
// what opening reads. Nothing has to be compacted.
//
// # Caveats
//
//   - bbolt keeps no checksum of its pages. Before a store that was not closed
//     cleanly is given to bbolt, every page in use is read and its structure
//     checked, since bbolt scans the same pages in a goroutine of its own, where
//     a panic could not be caught. That costs one read of the file, which is a few
//     MB. Segments are not read for it, only their index and the names of the
//     files.
//   - Pages that go bad later are found when they are read, which ends in an
//     error too, except in the scan that bbolt makes after a failed commit.
//   - The list of free pages is written at Close only (bbolt's NoFreelistSync).
//     Writing it at each commit would cost 8 bytes per free page per commit.
//   - A small commit still writes some tens of kilobytes: the path from the root
//     of the tree to each leaf it touches. Commit in batches.
//   - bbolt's file never shrinks. The space of records that left is used again.
//   - bbolt needs free pages even to delete; a reserve of 64 KiB beside the store
//     (path + ".reserve") is given up for it. A disk filled by others can stop
//     acknowledgements too, and stop making room; nothing is lost, and the next
//     commit after there is room succeeds. Give the store a limit that leaves room on its partition.
//   - Records in a segment are read back through their frame's header; a page of
//     records costs three small reads of the file.
//   - A record's age is counted from its At to the time given to Tidy. A clock that
//     is years ahead ends the keeping of what was acknowledged; what waits is not
//     touched by it.
//   - A copy of an older store put back in place cannot be told from the
//     original if no store was replaced in between.
//   - Surviving a power cut needs a disk that honours fdatasync.
//
// Requirements: R2 (no half-hour is lost), R3 (alarms wait for the link), R11
// (evidence of each control is kept until transferred), R16 (resilience).
package buffer
