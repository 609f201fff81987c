"""Git repositories of kernels, made from source packages: a whole tree in one commit,
without unpacking it. Shared by the scripts that make histories to bisect. Knows no
history of its own, and neither builds nor boots.

Commits have the same names on every machine, so that their kernels do too.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

# The first commit of every history; each one after it is a minute younger.
EPOCH = 946684800


class Problem(Exception):
    """What keeps a script from its work; ends it with exit code 3."""


def cache(name):
    """Directory of this name that outlives runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(os.environ.get("KREGRESS_CACHE") or Path(base) / "kregress") / name
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(directory):
    """The directory belongs to one run of one script at a time."""
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def failed(words, code, said):
    """The problem that a command ended with an error."""
    command = " ".join(str(word) for word in words)
    return Problem(f"`{command}` ended with {code}:\n{said.strip()[-2000:]}")


class Repository:
    """A bare repository, and who commits to it."""

    def __init__(self, path, author):
        self.path = Path(path)
        self.author = author

    def create(self):
        """Empty, whatever was there before."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "--bare", "-b", "base", self.path)
        # A tree of 1.3 GB: what more it takes in time it does not save in space.
        self.git("config", "core.compression", "1")
        self.git("config", "gc.auto", "0")

    def git(self, *words, stdin="", minute=0, index=None):
        """What git says. `minute`: the date of a commit, after that of the first."""
        date = f"{EPOCH + 60 * minute} +0000"
        more = {"GIT_DIR": str(self.path), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        for who in ("AUTHOR", "COMMITTER"):
            more |= {f"GIT_{who}_NAME": self.author, f"GIT_{who}_EMAIL": f"{self.author}@localhost"}
            more |= {f"GIT_{who}_DATE": date}
        if index:
            more["GIT_INDEX_FILE"] = str(index)
        command = ["git", *(str(word) for word in words)]
        done = subprocess.run(command, input=stdin.encode(), capture_output=True, env={**os.environ, **more})
        if done.returncode != 0:
            raise failed(command, done.returncode, done.stderr.decode(errors="replace"))
        return done.stdout.decode(errors="surrogateescape").rstrip("\n")

    def commit(self, tree, parents, message, minute):
        """A commit of a tree; its hash."""
        words = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", tree, *words, stdin=message, minute=minute)

    def branch(self, name, commit):
        """Points a branch at a commit."""
        self.git("update-ref", f"refs/heads/{name}", commit)

    def take(self, stream, branch, message):
        """Commits the files of a tar stream, without their topmost directory; the hash."""
        with self.importing() as write:
            write(self.head(branch, message, 0))
            with tarfile.open(fileobj=stream, mode="r|*") as tar:
                for member in tar:
                    file = content(tar, member)
                    if file:
                        mode, text = file
                        path = member.name.removeprefix("./").split("/", 1)[1]
                        write(b"M %s inline %s\n" % (mode, path.encode()) + data(text))
        return self.git("rev-parse", f"refs/heads/{branch}")

    def line(self, branch, start, commits):
        """Commits on top of `start`, one after the other: pairs of a message and of its
        files, each as path, mode and blob, the latter None where the file goes. The hash
        of the last one."""
        with self.importing() as write:
            for number, (message, files) in enumerate(commits, 1):
                write(self.head(branch, message, number))
                if number == 1:
                    write(f"from {start}\n".encode())
                for path, mode, blob in files:
                    write((f"M {mode} {blob} {path}\n" if blob else f"D {path}\n").encode())
        return self.git("rev-parse", f"refs/heads/{branch}")

    def head(self, branch, message, minute):
        """How a commit begins in the language of fast-import."""
        who = f"{self.author} <{self.author}@localhost> {EPOCH + 60 * minute} +0000\n"
        return f"commit refs/heads/{branch}\nauthor {who}committer {who}".encode() + data(message.encode())

    @contextlib.contextmanager
    def importing(self):
        """A git that reads commits from what is written."""
        words = ["git", "--git-dir", self.path, "fast-import", "--quiet", "--force"]
        git = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            yield git.stdin.write
        except BrokenPipeError:
            # Why it ended is on its stderr.
            pass
        said = git.communicate()[1].decode(errors="replace")
        if git.returncode != 0:
            raise failed(words, git.returncode, said)


def content(tar, member):
    """Mode and bytes of what git keeps of a member; None for directories."""
    if member.issym():
        return b"120000", member.linkname.encode()
    if member.isreg():
        return (b"100755" if member.mode & 0o100 else b"100644"), tar.extractfile(member).read()
    if member.isdir():
        return None
    raise Problem(f"`{member.name}` is neither a file nor a symbolic link")


def data(text):
    """Bytes as fast-import wants them."""
    return b"data %d\n%s\n" % (len(text), text)
