"""The pages of an LMDB file: what they must hold to be whole.  Pure.

LMDB trusts its file.  With a damaged one it ends the process, or returns bytes that were never stored.  So each page is
examined here before LMDB reads it: its number and kind, its entries, which must fill it exactly, their order, and all
that refers to other pages.

As LMDB has no checksums, a change within a key or a value cannot be detected, and neither can a changed size of a value
that has pages of its own and still fits in them.

Page 0 and page 1 are the meta pages: each describes the state after one transaction, and the later one counts.
The others form two trees, the entries and the list of free pages.
"""

import sys
from collections.abc import Callable, Iterator
from operator import add, lt
from struct import Struct, unpack_from
from typing import NamedTuple

MAGIC = 0xBEEFC0DE
FORMAT = 1

# number, padding, flags, and the ends of the free space in the page; the same as a whole is an overflow page's count
_HEADER = Struct("=QHHHH")
_COUNT = Struct("=I")
_COUNT_AT = 12
# magic, format, address, size of the map
_META = Struct("=IIQQ")
# page size or key size, flags, depth, branch pages, leaf pages, overflow pages, entries, root
_TREE = Struct("=IHHQQQQQ")
# last page, transaction
_STATE = Struct("=QQ")
# size of the value (in a branch page the number of a page, with the flags as its upper bits), flags, size of the key
_NODE = Struct("=IHH")
_PAGE_NUMBER = Struct("=Q")

META_SIZE = _HEADER.size + _META.size + 2 * _TREE.size + _STATE.size
PAGE_SIZES = tuple(2**power for power in range(9, 17))
_FIRST = 2
_NO_PAGE = 2**64 - 1
_MAX_KEY = 511

_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 0x01, 0x02, 0x04, 0x08
# What may remain set in a page on disk: LMDB's notes about pages in memory.
_IGNORED = 0x10 | 0x4000 | 0x8000
_ON_OVERFLOW = 0x01
_INTEGER_KEYS = 0x08

Read = Callable[[int, int], bytes]


class Damaged(Exception):
    """A page that is not whole."""

    def __init__(self, page: int, reason: str) -> None:
        """``page`` is its number."""
        super().__init__(f"page {page}: {reason}")
        self.page = page


class Cut(Damaged):
    """A page that is beyond the end of the file."""


class PageTree(NamedTuple):
    """What a meta page says about one of the two trees."""

    flags: int
    depth: int
    entries: int
    root: int


class Meta(NamedTuple):
    """The state of the file after one transaction."""

    page_size: int
    #: Bytes to which the file may grow.
    map_size: int
    free: PageTree
    main: PageTree
    last_page: int
    transaction: int
    #: True if the transaction must have replaced a page, so that the list of free pages shows it.
    frees: bool = False

    @property
    def size(self) -> int:
        """The bytes up to the end of the last page."""
        return (self.last_page + 1) * self.page_size


class Contents(NamedTuple):
    """What the walk through all pages found."""

    entries: int
    #: How many pages may be used again.
    free_pages: int


def page_size(start: bytes) -> int:
    """The page size that the first meta page states.

    :raises Damaged: if LMDB knows no such size.
    """
    size: int = _TREE.unpack_from(start, _HEADER.size + _META.size)[0]
    if size not in PAGE_SIZES:
        raise Damaged(0, f"it states a page size of {size} bytes")
    return size


def latest(first: bytes, second: bytes) -> Meta:
    """The later of the states in the two meta pages.

    :raises Damaged: if one of the pages is not whole.
    """
    metas = [_meta(number, page) for number, page in enumerate((first, second))]
    ages = [meta.transaction for meta in metas]
    if abs(ages[0] - ages[1]) > 1:
        behind = ages.index(min(ages))
        raise Damaged(behind, f"it is {abs(ages[0] - ages[1])} transactions behind page {1 - behind}")
    if metas[0].page_size != metas[1].page_size:
        raise Damaged(1, f"it states a page size of {metas[1].page_size} bytes, and page 0 one of {len(first)}")
    if ages[0] == ages[1] and metas[0].main != metas[1].main:
        raise Damaged(1, "it states to be of the same transaction as page 0")
    older, newer = sorted(metas, key=lambda meta: meta.transaction)
    if newer.last_page < older.last_page:  # a file never has fewer pages than before
        raise Damaged(newer.transaction % 2, "it is older than the other one, and states to be newer")
    frees = newer.transaction == older.transaction + 1 and older.main.root != _NO_PAGE
    return newer._replace(frees=frees)


def _meta(number: int, page: bytes) -> Meta:
    found, _, flags, _, _ = _HEADER.unpack_from(page)
    magic, version, _, map_size = _META.unpack_from(page, _HEADER.size)
    at = _HEADER.size + _META.size
    size, *free = _TREE.unpack_from(page, at)
    key_size, *main = _TREE.unpack_from(page, at + _TREE.size)
    last, transaction = _STATE.unpack_from(page, at + 2 * _TREE.size)
    meta = Meta(size, map_size, _tree(free), _tree(main), last, transaction)
    wrong = {
        "it is not a meta page": found != number or not flags & _META_PAGE or (magic, version) != (MAGIC, FORMAT),
        "the number of its transaction belongs to the other one": transaction and transaction % 2 != number,
        f"its last page is {last}": last < 1 or meta.size > map_size,
        "its list of free pages is of another kind": not free[0] & _INTEGER_KEYS,
        "its entries are of a kind that CFEngine does not use": key_size or main[0],
    }
    for reason, is_so in wrong.items():
        if is_so:
            raise Damaged(number, reason)
    return meta


def _tree(fields: list[int]) -> PageTree:
    flags, depth, _, _, _, entries, root = fields
    return PageTree(flags, depth, entries, root)


def same_for_both(page: bytes, number: int) -> bytes:
    """The meta page as meta page ``number``: a file with it as both has just this one state."""
    return _PAGE_NUMBER.pack(number) + page[_PAGE_NUMBER.size :]


def check(read: Read, meta: Meta, length: int) -> Contents:
    """Walk through all pages of a file of ``length`` bytes; ``read`` returns bytes by offset and count.

    :raises Damaged: naming the first page that is not whole.
    """
    walk = _Walk(read, meta, length)
    free: set[int] = set()
    latest_freed = 0
    for number, leaf in walk.leaves(meta.free, _integer):
        free |= walk.free_pages(number, leaf)
        latest_freed = int.from_bytes(leaf.keys[-1], sys.byteorder)
    if latest_freed > meta.transaction or (meta.frees and latest_freed < meta.transaction):
        text = f"it is of transaction {latest_freed}, and states to be of {meta.transaction}"
        raise Damaged(meta.transaction % 2, text)
    count = sum(len(leaf.keys) for _, leaf in walk.leaves(meta.main, None))
    if taken := sorted(page for page in free if walk.seen[page]):
        raise Damaged(taken[0], "it is in use, and listed as free")
    missing = range(length // meta.page_size, meta.last_page + 1)
    if lost := [page for page in missing if page not in free]:
        raise Cut(lost[0], f"it is beyond the end of the file, which has {length} bytes")
    return Contents(count, len(free))


def _integer(key: bytes) -> bytes:
    """The key in an order that bytes have: those of the list of free pages are native integers."""
    return _PAGE_NUMBER.unpack(key)[0].to_bytes(8, "big") if len(key) == _PAGE_NUMBER.size else b""


#: Gives keys the order of bytes, where they have another.
Order = Callable[[bytes], bytes] | None


class Leaf(NamedTuple):
    """The entries of a leaf page."""

    keys: list[bytes]
    #: Where in the file each value is: offset and size.
    values: list[tuple[int, int]]


class _Walk:
    """A walk through the trees of one state of a file."""

    def __init__(self, read: Read, meta: Meta, length: int) -> None:
        self._read, self._meta, self._length = read, meta, length
        self._size = meta.page_size
        self.seen = bytearray(meta.last_page + 1)

    def leaves(self, tree: PageTree, order: Order) -> Iterator[tuple[int, Leaf]]:
        """The leaf pages of a tree, whose keys ascend in this order: their numbers, and their entries.

        :raises Damaged: at the first page that is not whole.
        """
        count, source = 0, self._meta.transaction % 2
        if tree.root != _NO_PAGE:
            for number, leaf in self._below(source, tree.root, tree.depth, order, b"", None):
                count += len(leaf.keys)
                yield number, leaf
        elif tree.depth:
            raise Damaged(source, "it lacks the root of a tree")
        if count != tree.entries:
            raise Damaged(source, f"it states {tree.entries} entries, and there are {count}")

    def free_pages(self, number: int, leaf: Leaf) -> set[int]:
        """The pages that a leaf of the list of free pages lists: each entry has their count, and their numbers."""
        pages: set[int] = set()
        for offset, size in leaf.values:
            listed = unpack_from(f"={size // 8}Q", self._read(offset, size))
            pages.update(listed[1:])
            if not listed or size % 8 or listed[0] != len(listed) - 1:
                raise Damaged(number, "its list of free pages is broken")
        if pages and not _FIRST <= min(pages) <= max(pages) <= self._meta.last_page:
            raise Damaged(number, "it lists free pages that do not exist")
        return pages

    def _below(
        self, source: int, number: int, depth: int, order: Order, low: bytes, high: bytes | None
    ) -> Iterator[tuple[int, Leaf]]:
        """The leaf pages from this page down, whose keys are in [low, high); page ``source`` refers to it."""
        page, offsets, flags = self._nodes(source, number)
        if flags != (_LEAF if depth == 1 else _BRANCH):
            raise Damaged(number, "it is at the wrong depth of its tree")
        if depth == 1:
            leaf = self._leaf(number, page, offsets)
            keys = [order(key) for key in leaf.keys] if order else leaf.keys
            _require_order(number, low, keys, high)
            yield number, leaf
            return
        children = self._children(number, page, offsets, order, low)
        starts = [start for start, _ in children]
        _require_order(number, low, starts, high)
        for (start, child), end in zip(children, [*starts[1:], high], strict=True):
            yield from self._below(number, child, depth - 1, order, start, end)

    def _nodes(self, source: int, number: int) -> tuple[bytes, tuple[int, ...], int]:
        """A page of a tree, the offsets of its entries, and its kind."""
        page = self._take(source, number)
        found, _, flags, lower, upper = _HEADER.unpack_from(page)
        flags &= ~_IGNORED
        if found != number:
            raise Damaged(number, f"it is numbered {found}")
        if flags not in (_BRANCH, _LEAF) or not _HEADER.size < lower <= upper <= self._size or lower % 2:
            raise Damaged(number, "its header is broken")
        offsets = unpack_from(f"={(lower - _HEADER.size) // 2}H", page, _HEADER.size)
        if min(offsets) < upper or max(offsets) + _NODE.size > self._size:
            raise Damaged(number, "an entry is outside of it")
        return page, offsets, flags

    def _leaf(self, number: int, page: bytes, offsets: tuple[int, ...]) -> Leaf:
        nodes = [_NODE.unpack_from(page, offset) for offset in offsets]
        sizes = [key_size + (_PAGE_NUMBER.size if flags else size) for size, flags, key_size in nodes]
        _require_filled(number, page, offsets, sizes)
        key_sizes = [key_size for _, _, key_size in nodes]
        if min(key_sizes) < 1 or max(key_sizes) > _MAX_KEY:
            raise Damaged(number, "the key of an entry is broken")
        starts = [offset + _NODE.size for offset in offsets]
        ends = list(map(add, starts, key_sizes))
        base = number * self._size
        values = [(base + end, size) for end, (size, _, _) in zip(ends, nodes, strict=True)]
        for index in [index for index, (_, flags, _) in enumerate(nodes) if flags]:
            if nodes[index][1] != _ON_OVERFLOW:
                raise Damaged(number, "an entry is of a kind that CFEngine does not use")
            size, end = nodes[index][0], ends[index]
            values[index] = self._overflow(number, page[end : end + _PAGE_NUMBER.size], size), size
        return Leaf([page[start:end] for start, end in zip(starts, ends, strict=True)], values)

    def _children(
        self, number: int, page: bytes, offsets: tuple[int, ...], order: Order, low: bytes
    ) -> list[tuple[bytes, int]]:
        """Each child's lowest key, and the number of its page."""
        nodes = [_NODE.unpack_from(page, offset) for offset in offsets]
        _require_filled(number, page, offsets, [key_size for _, _, key_size in nodes])
        if len(nodes) < 2:
            raise Damaged(number, "it has only one entry")
        children = [lower_bits | upper_bits << 32 for lower_bits, upper_bits, _ in nodes]
        starts = [offset + _NODE.size for offset in offsets]
        keys = [page[start : start + key_size] for start, (_, _, key_size) in zip(starts, nodes, strict=True)]
        keys = [low, *(order(key) if order else key for key in keys[1:])]  # the first one's is not used
        return list(zip(keys, children, strict=True))

    def _overflow(self, source: int, pointer: bytes, size: int) -> int:
        """Where the value of ``size`` bytes is that has pages of its own."""
        first: int = _PAGE_NUMBER.unpack(pointer)[0]
        header = self._take(source, first)
        found, _, flags, _, _ = _HEADER.unpack_from(header)
        (count,) = _COUNT.unpack_from(header, _COUNT_AT)
        if found != first or flags & ~_IGNORED != _OVERFLOW:
            raise Damaged(first, f"it is not the overflow page that page {source} refers to")
        if size > count * self._size - _HEADER.size:
            raise Damaged(first, f"it has {count} pages for a value of {size} bytes")
        for other in range(first + 1, first + count):
            self._mark(first, other)
        return first * self._size + _HEADER.size

    def _take(self, source: int, number: int) -> bytes:
        """The page of this number, to which page ``source`` refers, and to which no other may."""
        self._mark(source, number)
        return self._read(number * self._size, self._size)

    def _mark(self, source: int, number: int) -> None:
        if not _FIRST <= number <= self._meta.last_page:
            raise Damaged(source, f"it refers to page {number}, which does not exist")
        if (number + 1) * self._size > self._length:
            raise Cut(number, f"it is beyond the end of the file, which has {self._length} bytes")
        if self.seen[number]:
            raise Damaged(number, "two others refer to it")
        self.seen[number] = 1


def _require_order(number: int, low: bytes, keys: list[bytes], high: bytes | None) -> None:
    """Require that the keys of this page ascend, from ``low`` on, and come before ``high``."""
    ascending = low <= keys[0] and all(map(lt, keys, keys[1:]))
    if not ascending or (high is not None and keys[-1] >= high):
        raise Damaged(number, "its keys are not in order")


def _require_filled(number: int, page: bytes, offsets: tuple[int, ...], sizes: list[int]) -> None:
    """Require that the entries of this page fill all that is not free, and each ends where the next one starts."""
    nodes = sorted(zip(offsets, sizes, strict=True))
    ends = [offset + ((_NODE.size + size + 1) & ~1) for offset, size in nodes]
    if [*(offset for offset, _ in nodes), len(page)] != [_HEADER.unpack_from(page)[4], *ends]:
        raise Damaged(number, "the sizes of its entries are broken")
