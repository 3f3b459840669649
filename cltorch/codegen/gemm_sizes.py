"""Form and sizes of a matrix product on a target: rules measured with benchmarks/kernels_gemm.py.

Floor 1b, part of `gemm`. Every number that a tuner may turn is a field of `GemmConfig`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..dtypes import bfloat16, float16
from ..target import Target, fragments
from . import tuned
from .gemm_problem import GemmProblem, Operand, lanes_of, native, sum_bytes
from .walk import up


@dataclass(frozen=True)
class GemmConfig:
    """Form and sizes of one product; `choose_config` gives the defaults, a tuner may give others.

    Attributes:
        form: 'tile', 'dot', 'rows', 'group' or 'matrix' (see the module).
        tile_m: rows of a register tile (at most M), rows of B taken at once in form 'rows', fragments down a warp's
            tile in 'matrix'.
        tile_n: vectors across a register tile in form 'tile', columns of it in 'dot', of a work-item in 'group',
            fragments across a warp's tile in 'matrix'.
        pack_a, pack_b: form 'tile' reads the operand in place ('direct'; where it cannot, as 'group'), each work-group
            packs what it needs into local memory ('group'), or a kernel packs it before ('ahead').
        block_m, block_n, block_k: what one work-group computes, and how deep a slice of K it takes at a time.
        splits: parts of K computed by different work-groups and added by a second kernel.
        vector_a, vector_b: elements that forms 'group' and 'matrix' read at once along an operand's contiguous dim
            (1 to 4, 1 to 8); more than 1 only where `widest_read` allows it.
        strip: rows of tiles that the work-groups of those forms go through together, column by column.
    """

    form: str
    tile_m: int
    tile_n: int
    pack_a: str
    pack_b: str
    block_m: int
    block_n: int
    block_k: int
    splits: int = 1
    vector_a: int = 1
    vector_b: int = 1
    strip: int = 1


def widest_read(x: Operand, most: int) -> int:
    """Elements of a matrix, up to `most` and 16 bytes, that aligned reads along its contiguous dim may take at once."""
    if x.column != 1 and x.row != 1:
        return 1
    most = min(most, 16 // x.dtype.itemsize)
    steps = (x.offset, x.row if x.column == 1 else x.column, *x.batch)
    return next(width for width in (8, 4, 2, 1) if width <= most and not any(step % width for step in steps))


def choose_config(problem: GemmProblem, target: Target) -> GemmConfig:
    """Form and sizes for a product on a target: what the tuning database says, else by rules measured with
    benchmarks/kernels_gemm.py.
    """
    known = tuned.find("gemm", problem.key, target, ("", GemmConfig))
    if known is not None:
        return known
    if target.kind == "gpu":
        return _group_config(problem, target)
    lanes = lanes_of(problem.a.dtype, target)
    if problem.m <= 4 and problem.b.column == 1 and problem.n >= lanes and problem.k * problem.n >= 65536:
        return _rows_config(problem, target)
    if problem.m <= 8 and problem.a.column == 1 and problem.b.row == 1 and problem.k >= lanes:
        return _dot_config(problem, target)
    return _tile_config(problem, target)


def _pieces_of_k(problem: GemmProblem, target: Target, groups: int, least: int, wanted: int, steps: int) -> int:
    """Parts to split K into so that `groups` become `wanted`, none less than `least` deep.

    `steps` bounds the iterations of all loops of a group over the whole of K: llvmpipe stops a kernel's loops when they
    have run `loop_limit` times together.
    """
    pieces = max(1, min(up(wanted, groups), problem.k // least))
    if target.loop_limit:
        pieces = max(pieces, min(problem.k, up(steps, target.loop_limit)))
    return pieces


def _rows_config(problem: GemmProblem, target: Target) -> GemmConfig:
    lanes = lanes_of(problem.a.dtype, target)
    room = min(target.local_memory, 65536) // (2 * sum_bytes(problem.a.dtype)) // problem.m
    blocks = up(problem.n, max(lanes, room))
    block_n = up(up(problem.n, blocks), lanes) * lanes
    groups = up(problem.n, block_n) * problem.count
    wanted = min(4 * target.compute_units, int(problem.k * problem.n * problem.count / 65536))
    vectors = block_n // lanes
    steps = problem.k * (vectors + 1) + problem.m * (2 * vectors + lanes)
    splits = _pieces_of_k(problem, target, groups, 64, max(1, wanted), steps)
    return GemmConfig("rows", 8, 1, "direct", "direct", problem.m, block_n, problem.k, splits)


def _dot_config(problem: GemmProblem, target: Target) -> GemmConfig:
    lanes = lanes_of(problem.a.dtype, target)
    tile_m = min(problem.m, 4, lanes)
    tile_n = min(lanes // tile_m, problem.n)
    wanted = min(8 * target.compute_units, int(problem.flops / 2.5e5))
    room = min(target.local_memory, 65536) // (2 * sum_bytes(problem.a.dtype)) // tile_m
    blocks = max(up(problem.n, room), min(up(max(1, wanted), problem.count), up(problem.n, 2 * tile_n)))
    block_n = up(up(problem.n, blocks), tile_n) * tile_n
    groups = up(problem.n, block_n) * problem.count
    steps = up(problem.m, tile_m) * block_n * (problem.k // lanes + tile_m + 2)
    splits = _pieces_of_k(problem, target, groups, 4096, max(1, wanted), steps)
    return GemmConfig("dot", tile_m, tile_n, "direct", "direct", problem.m, block_n, problem.k, splits)


_STRIP = 8  # rows of tiles of a strip: what 64 groups read is 16 tiles instead of 65
_LARGE = 256  # rows, and columns, from which 8 x 8 sums an item pay


def _group_config(problem: GemmProblem, target: Target) -> GemmConfig:
    """Tiles after the published tables of CLBlast and dlprimitives: 64 x 64, 4 x 4 an item, less for small ones;
    128 x 128, 8 x 8 an item, for large ones that fill the device (not on Intel's GPUs, whose registers do not hold it).

    Short floats take the matrix instruction where there is one and its fragments are at least half full.
    """
    dtype = problem.a.dtype
    if target.matrix and dtype in (float16, bfloat16):
        shape = fragments(target.matrix)
        if 2 * problem.m >= shape.rows and 2 * problem.n >= shape.columns:
            warps = 16 if shape.rows == 8 else 4
            if target.max_work_group >= warps * shape.lanes and target.local_memory >= 16384:
                return _matrix_config(problem, target)
    itemsize = sum_bytes(dtype)
    across, down = (16, 16) if target.max_work_group >= 256 else (8, 8)
    tile_m = 4 if problem.m > 16 else 1
    tile_n = 4 if problem.n > 16 else 1
    large = up(problem.m, 8 * down) * up(problem.n, 8 * across) * problem.count >= 2 * target.compute_units
    if large and min(problem.m, problem.n) >= _LARGE and itemsize == 4 and target.vendor != "intel":
        tile_m = tile_n = 8
    if problem.m == 1:
        across, down = across * down, 1
    block_m, block_n = tile_m * down, tile_n * across
    block_k = 16
    while block_k > 2 and block_k * (block_m + block_n + 8) * itemsize > target.local_memory // 2:
        block_k //= 2
    groups = up(problem.m, block_m) * up(problem.n, block_n) * problem.count
    steps = problem.k * (2 + up(block_m + block_n, across * down))
    splits = _pieces_of_k(problem, target, groups, 512, 2 * target.compute_units, 2 * steps)
    most = min(4, block_k, block_m, block_n)
    return GemmConfig(
        "group", tile_m, tile_n, "group", "group", block_m, block_n, block_k, splits,
        widest_read(problem.a, min(most, tile_m)), widest_read(problem.b, min(most, tile_n)), _STRIP,
    )  # fmt: skip


def _matrix_config(problem: GemmProblem, target: Target) -> GemmConfig:
    """A tile of 64 x 64 by warps of 32 x 32 from slices of 32: 10 KiB of local memory. By sub-groups of 16 x 16 from
    slices of 16 on Intel's GPUs: with more their compiler spills (ocloc 22.43: 2 x 2 fragments of Arc from slices of
    32, 1.3 KB; 4 x 2 of Xe-HPC, 3 KB; these none).
    """
    shape = fragments(target.matrix)
    warp, block_k = (16, 16) if shape.rows == 8 else (32, 32)
    groups = up(problem.m, 64) * up(problem.n, 64) * problem.count
    splits = _pieces_of_k(problem, target, groups, 512, 2 * target.compute_units, 2 * problem.k)
    return GemmConfig(
        "matrix", warp // shape.rows, warp // shape.columns, "group", "group", 64, 64, block_k, splits,
        widest_read(problem.a, 8), widest_read(problem.b, 8), _STRIP,
    )  # fmt: skip


_GROUP_FLOPS = 5e5  # the least work of a work-group of a CPU device
_SMALL_FLOPS = 8e6  # work up to which a product takes one of few texts: about 50 us on one core
_AHEAD = 512  # rows, and columns, from which converting A before the product beats converting it in each work-group
_TURNED_FLOPS = 6e7  # work from which an A that runs along M is packed by a launch before
_AHEAD_FLOPS = 3e8  # work from which a launch that packs B pays, where panels of all of K do not fit
_DEEPEST = 2048  # elements of K that one slice may hold
_DEEPEST_DIRECT = 256  # the same where B is read in place
_SLICE_DIRECT = 32  # rows of B read in place at a time: the prefetcher follows 32 of them from panel to panel
_SLICE = 1024  # elements of K of a slice where there are several
_SLICE_PACKED = 512  # the same where a group packs its rows of A
_PACK_CYCLES = 1.65  # packing an element of B
_GROUP_CYCLES = 3000.0  # start of a work-group
_WAKE = {"intel": 5e3, "pocl": 6e4}  # until a second core takes its first work-group: Intel's wait actively
_WAKE_OTHERS = 2e4
_REDUCE_CYCLES = 20000.0  # start of the launch that adds the parts of a split product
_SECOND_LEVEL = 2.2e6  # bytes of A that a core reads again and again without waiting
_SECOND_LEVEL_AHEAD = 1.2e6  # the same for A packed ahead, which comes from another core's cache
_LOCAL = 256 * 1024  # bytes of local memory that are worth using: about half of a core's second-level cache


def _small_tile_shape(m: int, n: int, lanes: int, target: Target) -> tuple[int, int]:
    """The register tile of a product too small for the best one to pay its build: one of few shapes.

    With 16 registers 4 x 2 vectors come before 8 x 1, whose 9 loads for 8 multiply-adds are what it waits for (128^3
    105 -> 120 GFLOPS).
    """
    sums = 16 if target.vector_width >= 16 else 8
    most = 8 if sums == 16 or n < 2 * lanes else 4
    tile_m = next(rows for rows in (8, 4, 2, 1) if rows <= min(m, most))
    tile_n = next(vectors for vectors in (4, 2, 1) if vectors == 1 or vectors * lanes <= n and vectors * tile_m <= sums)
    return tile_m, tile_n


def _tile_shape(m: int, n: int, lanes: int, target: Target, strips: bool, most: int) -> tuple[int, int]:
    """Rows and vectors (at most `most`) of the register tile: many sums, few of them computed twice at the edges.

    24 sums with 32 vector registers, 12 with 16. Below about 20 (10) sums the multiply-adds wait for one another. Rows
    of A read in place are a stream each, so few of them are better (6 x 4 vectors before 8 x 3, 3 %, and 12 x 2, 8 %);
    where A is packed in `strips`, 8 x 3 is ahead by 1 %. Sums, a row of B and an element of A must fit into the
    registers: of 16, 3 x 4 vectors need 17 and run at half the speed of 4 x 3.
    """
    sums, registers = (24, 32) if target.vector_width >= 16 else (12, 16)
    best, shape = 0.0, (1, 1)
    for tile_n in range(1, min(most, max(1, n // lanes)) + 1):
        for tile_m in {min(m, sums // tile_n), min(m, 12, sums // tile_n), min(m, 8, sums // tile_n), min(m, 6)}:
            if tile_m * tile_n > sums or tile_m * tile_n + tile_n + 1 > registers or tile_m > sums // 2:
                continue
            width = tile_n * lanes
            waste = up(m, tile_m) * tile_m * up(n, width) * width
            wait = 1 + 0.4 * max(0.0, 1 - tile_m * tile_n / (sums * 5 / 6))
            per_sum = (tile_m + tile_n) / (tile_m * tile_n)
            loads = 1 + (0.02 if strips else 0.01) * tile_n + 0.6 * per_sum
            score = 1 / (waste * wait * loads)
            if score > best:
                best, shape = score, (tile_m, tile_n)
    return shape


def _tile_config(problem: GemmProblem, target: Target) -> GemmConfig:
    """Form 'tile': how operands are read, then the blocks (and parts of K) that `_Plan.cycles` says end first."""
    dtype = problem.a.dtype
    lanes, m, n, k = lanes_of(dtype, target), problem.m, problem.n, problem.k
    a, b = problem.a, problem.b
    in_place = native(dtype) and a.column == 1
    turned = a.row == 1 and a.column != 1
    if turned:
        large = problem.flops >= _TURNED_FLOPS and min(m, n, k) >= 128
    else:
        large = min(m, n) >= _AHEAD and k >= 128
    strips = large and not in_place and not target.loop_limit
    if problem.flops <= _SMALL_FLOPS:
        tile_m, tile_n = _small_tile_shape(m, n, lanes, target)
    else:
        most = 4
        if strips and k <= 1536:  # one launch that packs is enough
            most = max(2, min(4, (min(target.local_memory, _LOCAL) // sum_bytes(dtype) - 512) // (k * lanes)))
        tile_m, tile_n = _tile_shape(m, n, lanes, target, strips, most)
    width = tile_n * lanes
    pack_a = pack_b = "group"
    if strips:
        pack_a = "ahead"
    elif in_place or (native(dtype) and turned and (n <= 2 * width or k <= 64 or a.column <= 2 * m)):
        pack_a = "direct"  # a copy does not pay for an A read by few panels, nor for a dense one
    if native(dtype) and b.column == 1 and n >= width:
        # nor for a B read by few strips, nor for a dense one
        few = 96 if target.vector_width >= 16 else 16
        if m <= few or k <= 64 or (b.row <= 4 * width and m <= 12 * tile_m):
            pack_b = "direct"
    if pack_b == "group" and problem.flops >= _AHEAD_FLOPS and not target.loop_limit and m >= 192:
        if k > (min(target.local_memory, _LOCAL) // sum_bytes(dtype) - 256) // width - tile_m:
            pack_b = "ahead"  # its panels do not fit into local memory
    plan = _Plan(problem, target, tile_m, tile_n, pack_a, pack_b)
    rows, columns, splits = plan.best()
    return GemmConfig(
        "tile", tile_m, tile_n, pack_a, pack_b, rows * tile_m, columns * width, plan.depth(rows, splits), splits
    )


@dataclass(frozen=True)
class _Plan:
    """What remains to be chosen once form and register tile are: blocks of rows x columns of tiles, parts of K."""

    problem: GemmProblem
    target: Target
    tile_m: int
    tile_n: int
    pack_a: str
    pack_b: str

    @property
    def lanes(self) -> int:
        return lanes_of(self.problem.a.dtype, self.target)

    @property
    def tiles(self) -> tuple[int, int]:
        return up(self.problem.m, self.tile_m), up(self.problem.n, self.tile_n * self.lanes)

    @property
    def room(self) -> int:
        """Elements of local memory for panels, less a tile at the edges."""
        itemsize = sum_bytes(self.problem.a.dtype)
        return min(self.target.local_memory, _LOCAL) // itemsize - self.tile_m * self.tile_n * self.lanes - 256

    def depth(self, rows: int, splits: int) -> int:
        """How deep a slice of K is: all of a part where its panels fit, else slices of equal depth."""
        piece = up(max(1, self.problem.k), splits)
        packed = self.tile_n * self.lanes if self.pack_b == "group" else 0
        spare = 0
        if self.pack_a == "group":
            packed += rows * self.tile_m
            spare = rows * self.tile_m * self.lanes
        deepest = max(self.lanes, (self.room - spare) // packed) if packed else piece
        if self.pack_b == "direct" and piece > _DEEPEST_DIRECT:
            deepest = min(deepest, _SLICE_DIRECT)
        if piece <= min(deepest, _DEEPEST):
            return up(piece, self.lanes) * self.lanes if splits > 1 else piece
        deepest = min(deepest, _SLICE)
        return up(up(piece, up(piece, deepest)), self.lanes) * self.lanes

    def steps(self, rows: int, columns: int, splits: int) -> int:
        """Bounds the iterations of all loops of a group."""
        block_m, block_n = rows * self.tile_m, columns * self.tile_n * self.lanes
        return (rows * columns + block_m + block_n + 1) * up(self.problem.k, splits) + block_m * block_n

    def cycles(self, rows: int, columns: int, splits: int) -> float:
        """When the last core ends, in cycles of a core that does two vector multiply-adds a cycle."""
        p, lanes = self.problem, self.lanes
        piece = up(max(1, p.k), splits)
        depth = self.depth(rows, splits)
        slices = up(piece, depth)
        tile = self.tile_m * self.tile_n * (piece / 2 + (2 * slices if slices > 1 else 1)) + 40 * slices
        work = rows * columns * tile
        block = rows * self.tile_m * depth
        nbytes = block * sum_bytes(p.a.dtype)
        if nbytes > _SECOND_LEVEL:
            work *= 1.2 if self.pack_a == "ahead" else 1.06
        elif nbytes > _SECOND_LEVEL_AHEAD and self.pack_a == "ahead":
            work *= 1.05
        work += columns * self.tile_n * piece * (_PACK_CYCLES * lanes if self.pack_b == "group" else 4)
        if self.pack_a == "group":
            work += rows * self.tile_m * piece / lanes * (6 if 1 in (p.a.column, p.a.row) else 40)
        else:
            work += rows * self.tile_m * piece / lanes * 4
        row_tiles, column_tiles = self.tiles
        full = work + _GROUP_CYCLES
        groups = up(row_tiles, rows) * up(column_tiles, columns) * p.count * splits
        end = self.makespan(groups, full) + 0.1 * full
        if splits > 1:
            end += _REDUCE_CYCLES + splits * p.count * p.m * p.n / lanes * 3 / self.target.compute_units
        return end

    def makespan(self, groups: int, full: float) -> float:
        """When `groups` of `full` cycles each are done, if all cores but the first wake late."""
        others, wake = self.target.compute_units - 1, _WAKE.get(self.target.vendor, _WAKE_OTHERS)
        if groups == 1 or not others:
            return groups * full
        end = groups * full
        ideal = int((groups * full + others * wake) / (others + 1) / full)
        for mine in range(max(1, ideal - 1), min(groups - 1, ideal + 1) + 1):  # groups of the first core
            end = min(end, max(mine * full, wake + up(groups - mine, others) * full))
        return end

    def best(self) -> tuple[int, int, int]:
        """Rows and columns of tiles in a block, and parts of K."""
        p, target = self.problem, self.target
        row_tiles, column_tiles = self.tiles
        limit = max(1, min(16 * target.compute_units, int(p.flops / _GROUP_FLOPS)))
        most_rows = row_tiles
        if self.pack_a == "group":
            held = self.room // 2 if self.pack_b == "group" else self.room
            most_rows = max(1, min(row_tiles, held // (self.tile_m * min(max(1, p.k), _SLICE_PACKED) or 1)))
        least = up(row_tiles, most_rows)
        splits = [1]
        if p.k >= 1024:  # as long as the parts are small against the operands
            most = min(8 * target.compute_units, p.k // 512, (p.m + p.n) * p.k // (4 * p.m * p.n))
            splits += [s for s in (2, 3, 4, 6, 8, 12, 16, 24, 32) if s <= most]
        seen: dict[tuple[int, int, int], float] = {}
        for parts in splits:
            for down in range(least, min(row_tiles, max(least, limit)) + 1):
                for across in range(1, column_tiles + 1):
                    if down * across * p.count * parts > limit and not (down == least and across == 1 and parts == 1):
                        break
                    choice = up(row_tiles, down), up(column_tiles, across), parts
                    if choice not in seen:
                        seen[choice] = self.cycles(*choice)
        if not target.loop_limit:
            return min(seen, key=seen.__getitem__)
        rows, columns, parts = min(seen, key=seen.__getitem__)
        while self.steps(rows, columns, parts) > target.loop_limit and rows * columns > 1:
            wider = columns > 1 and (columns * self.tile_n * self.lanes >= rows * self.tile_m or rows == 1)
            rows, columns = (rows, up(columns, 2)) if wider else (up(rows, 2), columns)
        while self.steps(rows, columns, parts) > target.loop_limit and parts < p.k:
            parts = min(p.k, 2 * parts)
        return rows, columns, parts
