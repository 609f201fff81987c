"""Cuts the difference between two kernel trees into pieces that can be committed one
after the other: which files go together, and in which order. Pure: file texts go in,
lists of paths come out.

A piece is what changed in one subsystem, as long as the kernel builds in between. What
C says about that is guessed from names, without a compiler:

    a name that a header gains comes before the files that gain it
    a name that a header loses goes after the files that lose it
    a function whose parameters change goes together with its callers
    a file that comes or goes does so with the Makefile that names it

Files that need each other in both directions share a piece. Most pieces then build;
nothing here promises it for all of them.
"""

import functools
import hashlib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.M)
NAME = re.compile(r"[A-Za-z_]\w*")
DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.M)
# What include/linux/cleanup.h makes names of.
GUARD = re.compile(r"^DEFINE_(?:CLASS|GUARD|FREE|LOCK_GUARD_[01])\((\w+)", re.M)
TAG = re.compile(r"\b(?:struct|union|enum)\s+(\w+)\s*(?=\{)")
TYPE = re.compile(r"^typedef\b[^;{]*?\b(\w+)\s*;", re.M)
ENUMS = re.compile(r"\benum\b[^{};()]*\{([^}]*)\}")
# `typedef int (name)(int)`, with or without an asterisk.
CALLBACK = re.compile(r"^typedef\b[^;(]*\(\s*\*?\s*(\w+)\s*\)\s*\([^;]*;", re.M)
# What a source offers to the linker beside its functions.
DATA = re.compile(r"^(?:EXPORT_SYMBOL(?:_GPL)?|DEFINE_STATIC_KEY_(?:TRUE|FALSE))\((\w+)", re.M)
# Begins in the first column, as functions of the kernel do.
FUNCTION = re.compile(r"^(?!static\b(?! inline| __always_inline)|#|return\b)[A-Za-z_][\w \t*\n]*?\b(\w+)\(", re.M)
# `int (*name)(` of a table of functions.
SLOT = re.compile(r"\(\*\s*(\w+)\)\s*\(")
CALL = re.compile(r"\b([A-Za-z_]\w*)\)?\s*\(")
ENTRY = re.compile(r"\.(\w+)\s*=\s*(\w+)\b")
FIELD = re.compile(r"^[ \t]+[A-Za-z_][\w \t*,]*?[ \t*](\w+)(?:\[[^\]]*\])*(?:[ \t]*:[ \t]*\d+)?[ \t]*;", re.M)
STRUCTURE = re.compile(r"^(?:struct|union)\s+(\w+)\s*\{(.*?)^\}", re.M | re.S)
USED_FIELD = re.compile(r"(?:->|\.)\s*(\w+)")
WORDS = {"if", "while", "for", "switch", "sizeof", "return", "defined", "typeof", "__attribute__", "else", "do"}


@dataclass(frozen=True)
class Change:
    """One file, before and after; None where it was not or is no more."""

    path: str
    old: str | None
    new: str | None

    @property
    def comes_or_goes(self):
        """Added or removed."""
        return self.old is None or self.new is None


@dataclass
class Side:
    """What is said in one version of a file."""

    code: str
    names: Counter
    includes: set
    declared: set = field(default_factory=set)
    fields: Counter = field(default_factory=Counter)
    used_fields: Counter = field(default_factory=Counter)
    members: set = field(default_factory=set)
    macros: set = field(default_factory=set)

    @functools.cached_property
    def results(self):
        """What the functions that are declared return, by their names."""
        return {match[1]: " ".join(match[0].split()) for match in FUNCTION.finditer(self.code)}

    @functools.cached_property
    def callbacks(self):
        """The types of functions that are declared."""
        return {" ".join(match[0].split()) for match in CALLBACK.finditer(self.code)}

    def lines(self, name):
        """Every line with a name, without spaces."""
        return Counter(re.sub(r"\s", "", line) for line in self.code.split("\n") if re.search(rf"\b{name}\b", line))

    @functools.cached_property
    def opened(self):
        """Where the parenthesis behind a name is, for every name that has one."""
        found = defaultdict(list)
        for match in CALL.finditer(self.code):
            found[match[1]].append(match.end() - 1)
        return found

    def calls(self, name):
        """Every `name(...)`, without spaces."""
        return Counter(arguments(self.code, start) for start in self.opened.get(name, ()))


def arguments(code, start):
    """Text from an opening parenthesis to its closing one, without spaces."""
    depth = 0
    for end in range(start, min(len(code), start + 4000)):
        depth += {"(": 1, ")": -1}.get(code[end], 0)
        if depth == 0:
            return re.sub(r"\s", "", code[start : end + 1])
    return ""


def read(path, text):
    """What is said in a text; nothing in one that is not C."""
    if text is None or not path.endswith((".c", ".h", ".S")):
        return Side("", Counter(), set())
    includes = set(INCLUDE.findall(text))
    code = NOISE.sub(" ", text)
    side = Side(code, Counter(NAME.findall(code)), includes)
    side.used_fields = Counter(USED_FIELD.findall(code))
    side.declared = set(FUNCTION.findall(code)) - WORDS
    side.macros = set(DEFINE.findall(code))
    if path.endswith(".c"):
        side.declared |= set(DATA.findall(code))
    if path.endswith(".h"):
        for pattern in (DEFINE, GUARD, TAG, TYPE, SLOT):
            side.declared |= set(pattern.findall(code))
        side.fields = Counter(FIELD.findall(code))
        side.members = {(tag, name) for tag, body in STRUCTURE.findall(code) for name in FIELD.findall(body)}
        for body in ENUMS.findall(code):
            side.declared |= {match[0] for match in re.finditer(r"(?<![\w=(])[A-Z_]\w*(?=\s*[,=\n}]|\s*$)", body)}
    return side


class Needs:
    """Which file has to be committed before which."""

    def __init__(self, changes):
        self.changes = {change.path: change for change in changes}
        self.old = {change.path: read(change.path, change.old) for change in changes}
        self.new = {change.path: read(change.path, change.new) for change in changes}
        self.before = defaultdict(set)
        self.after = defaultdict(set)
        self.users = defaultdict(set)
        self.headers = defaultdict(set)
        self.includers = defaultdict(set)
        for path in self.changes:
            self.headers[file_name(path)].add(path)
            for name in self.old[path].includes:
                self.includers[name].add(path)
            for name in {*self.old[path].names, *self.new[path].names}:
                self.users[name].add(path)
        for path in sorted(self.changes):
            self.declarations(path)
            self.fields(path)
            self.includes(path)
            self.kbuild(path)

    def order(self, first, then):
        """`first` is committed no later than `then`."""
        if first != then:
            self.before[then].add(first)
            self.after[first].add(then)

    def together(self, one, other):
        """Both are in one commit."""
        self.order(one, other)
        self.order(other, one)

    def gained(self, path, name):
        return self.new[path].names[name] > self.old[path].names[name]

    def lost(self, path, name):
        return self.new[path].names[name] < self.old[path].names[name]

    def declarations(self, path):
        """Functions, macros, types and constants that a file offers to others."""
        old, new = self.old[path], self.new[path]
        for name in new.declared - old.declared:
            for user in self.users[name]:
                # Of a header and the file with the body, the header is first.
                if self.gained(user, name) and not (path.endswith(".c") and user.endswith(".h")):
                    self.order(path, user)
                if name in self.old[user].macros - self.new[user].macros:
                    self.together(path, user)
        for name in old.declared - new.declared:
            for user in self.users[name]:
                if self.lost(user, name) and not (path.endswith(".c") and user.endswith(".h")):
                    self.order(user, path)
                # What moves from header to header is never twice or nowhere.
                moved = name in self.new[user].declared - self.old[user].declared
                if moved and path.endswith(".h") and user.endswith(".h"):
                    self.together(path, user)
        if path.endswith(".h"):
            for name in old.declared & new.declared & {*old.opened, *new.opened}:
                if old.calls(name) != new.calls(name):
                    self.signature(path, name)
            if old.callbacks - new.callbacks:
                # Who sets and who calls them, no name tells.
                for user in self.changes:
                    if user.rsplit("/", 1)[0] == path.rsplit("/", 1)[0] and not path.startswith("include/"):
                        self.together(path, user)
            for name in old.results.keys() & new.results.keys():
                if old.results[name] != new.results[name]:
                    for user in self.users[name]:
                        if self.old[user].lines(name) != self.new[user].lines(name):
                            self.together(path, user)
            for name in old.declared & new.declared:
                # A body that moves between a header and a source is never twice or nowhere.
                for user in self.users[name]:
                    if user.endswith(".c") and (name in self.old[user].declared) != (name in self.new[user].declared):
                        self.together(path, user)

    def signature(self, header, name):
        """A header declares a function, macro or slot with other parameters."""
        for user in self.users[name]:
            old, new = self.old[user], self.new[user]
            if old.calls(name) != new.calls(name):
                self.together(header, user)
                continue
            for slot, function in ENTRY.findall(new.code):
                if slot == name and old.calls(function) != new.calls(function):
                    self.together(header, user)

    def fields(self, path):
        """Members of structures that a header offers."""
        old, new = self.old[path], self.new[path]
        for gone, fields in (False, new.fields - old.fields), (True, old.fields - new.fields):
            for name in fields:
                for user in self.users[name]:
                    difference = self.new[user].used_fields[name] - self.old[user].used_fields[name]
                    # A name that the header has elsewhere too says little about its user.
                    rare = (new if gone else old).names[name] == 0
                    if not self.sees(user, path, rare):
                        continue
                    if gone and difference < 0:
                        self.order(user, path)
                    elif not gone and difference > 0:
                        self.order(path, user)
        gained = {name for _, name in new.members - old.members}
        lost = {name for _, name in old.members - new.members}
        # What moves from structure to structure has its users at the same moment.
        for name in gained & lost:
            for user in self.users[name]:
                if self.sees(user, path, False) and self.old[user].lines(name) != self.new[user].lines(name):
                    self.together(path, user)

    def sees(self, user, header, rare):
        """Whether a field of the header can be meant. Headers of include/ come by detours."""
        included = {*self.old[user].includes, *self.new[user].includes}
        return rare and header.startswith("include/") or any(file_name(name) == file_name(header) for name in included)

    def includes(self, path):
        """Headers that come and go, and includes that move from headers to their users."""
        gained = self.new[path].includes - self.old[path].includes
        lost = self.old[path].includes - self.new[path].includes
        for name in gained:
            for header in self.headers[file_name(name)]:
                if self.changes[header].old is None:
                    self.order(header, path)
            for header in self.includers[name]:
                if header.endswith(".h") and name not in self.new[header].includes:
                    self.order(path, header)
        for name in lost:
            for header in self.headers[file_name(name)]:
                if self.changes[header].new is None:
                    self.order(path, header)

    def kbuild(self, path):
        """Files that come and go, with what names them."""
        if not self.changes[path].comes_or_goes:
            return
        parent = path.rsplit("/", 1)[0]
        near = [f"{parent}/{name}" for name in ("Makefile", "Kbuild", "Kconfig")]
        if any(name in self.changes and self.changes[name].comes_or_goes for name in near):
            above = parent.rsplit("/", 1)[0]
            near += [f"{above}/{name}" for name in ("Makefile", "Kbuild", "Kconfig")]
        for name in near:
            if name in self.changes:
                self.together(path, name)


def file_name(path):
    """The last word of a path."""
    return path.rsplit("/", 1)[-1]


def subsystem(path):
    """The topmost directories of a path: three for drivers, of which there are most."""
    words = path.split("/")[:-1]
    depth = 3 if words[:1] == ["drivers"] else 2
    return "/".join(words[:depth]) or path


def knots(paths, before):
    """Sets of files that need each other in both directions, by Tarjan's algorithm."""
    index, low, stack, found = {}, {}, [], []
    on_stack = set()
    for root in paths:
        if root in index:
            continue
        work = [(root, iter(sorted(before[root])))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            path, needs = work[-1]
            for need in needs:
                if need not in index:
                    index[need] = low[need] = len(index)
                    stack.append(need)
                    on_stack.add(need)
                    work.append((need, iter(sorted(before[need]))))
                    break
                if need in on_stack:
                    low[path] = min(low[path], index[need])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[path])
                if low[path] == index[path]:
                    knot = set()
                    while path not in knot:
                        knot.add(stack.pop())
                    on_stack -= knot
                    found.append(frozenset(knot))
    return found


def home(knot, needs):
    """The subsystem to which a knot belongs: that of most of its sources, and a header
    alone belongs to those who use what is new in it."""
    votes = Counter(subsystem(path) for path in knot if not path.startswith("include/"))
    if not votes:
        users = {user for path in knot for user in needs.after[path]}
        votes = Counter(subsystem(user) for user in users if not user.startswith("include/"))
    votes = votes or Counter(subsystem(path) for path in knot)
    most = max(votes.values())
    return min(name for name in votes if votes[name] == most)


def shuffled(name):
    """A place in an order in which neighbours have nothing to do with each other, as in
    a real history; the same on every machine."""
    return hashlib.sha256(name.encode()).hexdigest(), name


def pieces(changes):
    """The changes in the order of their commits: pairs of a subsystem and its paths."""
    needs = Needs(changes)
    homes, where, waiting = defaultdict(set), {}, {}
    for knot in knots(sorted(needs.changes), needs.before):
        homes[home(knot, needs)].add(knot)
        for path in knot:
            where[path] = knot
    for knots_of_home in homes.values():
        for knot in knots_of_home:
            waiting[knot] = {where[need] for path in knot for need in needs.before[path]} - {knot}
    order, done = [], set()
    while homes:
        offers = {name: ready(homes[name], waiting, done) for name in homes}
        # A subsystem that can be done with is better than a part of one.
        whole = [name for name in offers if len(offers[name]) == len(homes[name])]
        largest = max(len(offer) for offer in offers.values())
        chosen = min(whole or [name for name in offers if len(offers[name]) == largest], key=shuffled)
        order.append((chosen, sorted(path for knot in offers[chosen] for path in knot)))
        done |= offers[chosen]
        homes[chosen] -= offers[chosen]
        if not homes[chosen]:
            del homes[chosen]
    return order


def ready(candidates, waiting, done):
    """Those of the knots that can be committed at once, some because of others."""
    found = set()
    while more := {knot for knot in candidates - found if waiting[knot] <= done | found}:
        found |= more
    return found
