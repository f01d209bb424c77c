package powercut

import (
	"bufio"
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// recorder is the file system: that of the library, which passes everything on to
// a folder, with a note of what changes.
type recorder struct {
	mu  sync.Mutex
	out *gob.Encoder
	err error
}

func (r *recorder) note(o op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.out.Encode(&o); err != nil && r.err == nil {
		r.err = err
	}
}

type node struct {
	fs.LoopbackNode
	rec *recorder
}

func (n *node) name(child string) string { return filepath.Join(n.Path(n.Root()), child) }
func (n *node) ino() uint64              { return n.StableAttr().Ino }

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	child, f, fl, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno == 0 {
		n.rec.note(op{Kind: opCreate, Ino: child.StableAttr().Ino, Name: n.name(name)})
	}
	return child, f, fl, errno
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	child, errno := n.LoopbackNode.Mkdir(ctx, name, mode, out)
	if errno == 0 {
		n.rec.note(op{Kind: opMkdir, Name: n.name(name)})
	}
	return child, errno
}

func (n *node) Rename(ctx context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	errno := n.LoopbackNode.Rename(ctx, name, to, newName, flags)
	if errno == 0 {
		into := to.EmbeddedInode()
		n.rec.note(op{Kind: opRename, Name: n.name(name), To: filepath.Join(into.Path(into.Root()), newName)})
	}
	return errno
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	errno := n.LoopbackNode.Unlink(ctx, name)
	if errno == 0 {
		n.rec.note(op{Kind: opUnlink, Name: n.name(name)})
	}
	return errno
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	errno := n.LoopbackNode.Rmdir(ctx, name)
	if errno == 0 {
		n.rec.note(op{Kind: opUnlink, Name: n.name(name)})
	}
	return errno
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	errno := n.LoopbackNode.Setattr(ctx, f, in, out)
	if size, is := in.GetSize(); is && errno == 0 {
		n.rec.note(op{Kind: opSize, Ino: n.ino(), Off: int64(size)})
	}
	return errno
}

// Open notes a file that is emptied as it is opened.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, fl, errno := n.LoopbackNode.Open(ctx, flags)
	if errno == 0 && flags&syscall.O_TRUNC != 0 {
		n.rec.note(op{Kind: opSize, Ino: n.ino()})
	}
	return f, fl, errno
}

func (n *node) Write(ctx context.Context, f fs.FileHandle, octets []byte, off int64) (uint32, syscall.Errno) {
	n.rec.note(op{Kind: opWrite, Ino: n.ino(), Off: off, Octets: octets})
	return f.(fs.FileWriter).Write(ctx, octets, off)
}

func (n *node) Fsync(ctx context.Context, f fs.FileHandle, flags uint32) syscall.Errno {
	n.rec.note(op{Kind: opSync, Ino: n.ino()})
	return 0 // the disk below has no say in it
}

// opened is a folder that somebody reads or flushes.
type opened struct {
	fs.FileReaddirenter
	fs.FileSeekdirer
	fs.FileReleasedirer
	node *node
}

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, fl, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return h, fl, errno
	}
	return &opened{h.(fs.FileReaddirenter), h.(fs.FileSeekdirer), h.(fs.FileReleasedirer), n}, fl, 0
}

// Fsyncdir notes that the names in a folder are flushed.
func (o *opened) Fsyncdir(context.Context, uint32) syscall.Errno {
	o.node.rec.note(op{Kind: opSync, Dir: true, Name: o.node.name("")})
	return 0
}

// Allocate is refused: what it leaves is not noted.
func (n *node) Allocate(context.Context, fs.FileHandle, uint64, uint64, uint32) syscall.Errno {
	return syscall.EOPNOTSUPP
}

// CopyFileRange is refused, for the same reason: the kernel copies by writing.
func (n *node) CopyFileRange(context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.EOPNOTSUPP
}

// WrapChild makes one of ours of each node below.
func (n *node) WrapChild(context.Context, fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{LoopbackNode: fs.LoopbackNode{RootData: n.RootData}, rec: n.rec}
}

// Serve shows folder at mount, writes what is done there to the file log, says so
// on ready, and ends when stop does.
func Serve(folder, mount, log string, ready io.Writer, stop io.Reader) error {
	file, err := os.Create(log)
	if err != nil {
		return fmt.Errorf("power-cut file system: %w", err)
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	rec := &recorder{out: gob.NewEncoder(out)}
	var st syscall.Stat_t
	if err := syscall.Stat(folder, &st); err != nil {
		return fmt.Errorf("power-cut file system: folder %s: %w", folder, err)
	}
	root := &fs.LoopbackRoot{Path: folder, Dev: uint64(st.Dev)}
	top := &node{LoopbackNode: fs.LoopbackNode{RootData: root}, rec: rec}
	root.RootNode = top
	server, err := fs.Mount(mount, top, &fs.Options{MountOptions: fuse.MountOptions{DirectMount: true, FsName: "powercut", DisableXAttrs: true,
		// Writes that the kernel carries out by itself would not be noted.
		DisabledCapabilities: fuse.CAP_PASSTHROUGH}})
	if err != nil {
		return fmt.Errorf("power-cut file system: mount %s: %w (it needs /dev/fuse and the right to mount: root, or fusermount3 of the package fuse3)", mount, err)
	}
	fmt.Fprintln(ready, "ready")
	_, _ = io.Copy(io.Discard, stop) // its end is the sign
	if err := server.Unmount(); err != nil {
		_ = syscall.Unmount(mount, syscall.MNT_DETACH) // or it stays for ever
		return fmt.Errorf("power-cut file system: unmount %s: %w", mount, err)
	}
	server.Wait()
	if rec.err == nil {
		rec.err = out.Flush()
	}
	return rec.err
}
