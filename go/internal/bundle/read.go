package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
)

// Limits that keep a broken or hostile release from filling the memory.
const (
	maxFiles         = 1024
	maxFileBytes     = 8 << 30
	maxReleaseBytes  = 16 << 30
	maxManifestBytes = 256 << 20 // vocabularies of item ids make large ones
)

// readDir reads every file of a release directory into memory. Only plain files in plain folders are
// read: no symbolic links, no files with a second name, nothing special.
func readDir(dir string) (releaseID string, files map[string][]byte, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, refuse("", "open", "give the path of a release directory", "%v", err)
	}
	info, err := os.Lstat(abs)
	if err != nil {
		return "", nil, refuse("", "open", "check the release id and the model folder", "%v", reasonOf(err))
	}
	if !info.IsDir() {
		return "", nil, refuse("", "open", "releases are plain directories: copy the release there", "it is not a directory")
	}
	// The root keeps every open inside the directory, whatever is renamed meanwhile.
	root, err := os.OpenRoot(abs)
	if err != nil {
		return "", nil, refuse("", "open", "check the permissions", "%v", reasonOf(err))
	}
	defer root.Close()

	files = map[string][]byte{}
	total := int64(0)
	err = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return refuse(path, "read", "check the permissions", "%v", reasonOf(err))
		}
		if entry.IsDir() {
			return nil
		}
		if len(files) >= maxFiles {
			return refuse("", "size", fixCopy, "there are more than %d files", maxFiles)
		}
		data, err := readFile(root, path, maxReleaseBytes-total)
		if err != nil {
			return err
		}
		files[path] = data
		total += int64(len(data))
		return nil
	})
	return filepath.Base(abs), files, err
}

// readFile reads one plain file of at most limit bytes.
func readFile(root *os.Root, path string, limit int64) ([]byte, error) {
	limit = min(limit, maxFileBytes)
	if path == manifestFile {
		limit = min(limit, maxManifestBytes)
	}
	info, err := root.Lstat(path)
	if err != nil {
		return nil, refuse(path, "read", fixCopy, "%v", reasonOf(err))
	}
	if err := checkPlain(path, info); err != nil {
		return nil, err
	}
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, refuse(path, "read", "check the permissions", "%v", reasonOf(err))
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil { // of what was opened: it may not be what Lstat saw
		return nil, refuse(path, "read", fixCopy, "%v", reasonOf(err))
	}
	if err := checkPlain(path, info); err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, refuse(path, "size", "make a smaller release", "it has %d bytes, more than the %d allowed", info.Size(), limit)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, refuse(path, "read", fixCopy, "%v", reasonOf(err))
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return nil, refuse(path, "read", fixCopy, "it grew while it was read")
	}
	return data, nil
}

func checkPlain(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return refuse(path, "plain file", fixCopy, "it is a %s, not a plain file", kindOf(info.Mode()))
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
		return refuse(path, "plain file", fixCopy, "it is a hard link: whoever holds its other name could change it")
	}
	return nil
}

func kindOf(mode fs.FileMode) string {
	if mode&fs.ModeSymlink != 0 {
		return "symbolic link"
	}
	return "special file"
}

// reasonOf drops the absolute path from a file error; the caller names the file relative to the release.
func reasonOf(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// verifyFiles holds the files that were read against the manifest: the same names, sizes and digests.
func verifyFiles(m *bundlev1.Manifest, releaseID string, files map[string][]byte) error {
	f := &faults{file: manifestFile}
	if m.GetReleaseId() != releaseID {
		f.list = append(f.list, refuse(manifestFile, "release_id", "give the directory its own name back, or export again",
			"the manifest says %q but the directory is %q", m.GetReleaseId(), releaseID))
	}
	listed := map[string]bool{manifestFile: true}
	previous := ""
	digest := sha256.New()
	for _, file := range m.GetFiles() {
		path := file.GetPath()
		if !fs.ValidPath(path) || path == "." || path == manifestFile || strings.ContainsAny(path, "\\\x00") {
			f.add("files", "path %q is not a clean relative path", path)
			continue
		}
		if path <= previous {
			f.add("files", "%q is not sorted by path, or is listed twice", path)
		}
		previous = path
		listed[path] = true
		digest.Write([]byte(file.GetSha256() + "  " + path + "\n"))
		f.list = appendError(f.list, verifyFile(file, files))
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if !listed[path] {
			f.list = append(f.list, refuse(path, "listed", "remove the file, or copy the release again", "the manifest does not list it"))
		}
	}
	if len(f.list) == 0 && hex.EncodeToString(digest.Sum(nil)) != m.GetDigest() {
		f.list = append(f.list, refuse(manifestFile, "digest", fixCopy, "the digest of the file list is %x, the manifest says %q", digest.Sum(nil), m.GetDigest()))
	}
	return f.err()
}

func verifyFile(file *bundlev1.File, files map[string][]byte) error {
	data, ok := files[file.GetPath()]
	if !ok {
		return refuse(file.GetPath(), "present", fixCopy, "the manifest lists it, but it is missing")
	}
	if int64(len(data)) != file.GetSize() {
		return refuse(file.GetPath(), "size", fixCopy, "it has %d bytes, the manifest says %d", len(data), file.GetSize())
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != file.GetSha256() {
		return refuse(file.GetPath(), "sha256", fixCopy, "its digest is %x, the manifest says %q", sum, file.GetSha256())
	}
	return nil
}

func appendError(list []error, err error) []error {
	if err == nil {
		return list
	}
	return append(list, err)
}
