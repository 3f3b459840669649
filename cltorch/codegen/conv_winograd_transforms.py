"""The three transforms of Winograd's convolution of 3x3 kernels, as text over vectors of any width.

Floor 1b, part of `conv_winograd`. F(2, 3) uses the points 0, 1, -1 and infinity; F(4, 3) uses 0, 1, -1, 1/2, -2 and
infinity, whose error is 2.5 to 4 times smaller than that of the customary 0, 1, -1, 2, -2. Both are factored by hand:
16 (F4) and 4 (F2) operations for a line of input, 12 and 4 for a line of products, 10 and 4 for a line of taps.

A one-dimensional transform is a function `(names in, names out, vector type) -> statements`; `twice` applies one along
both axes of a tile.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016; choice of points: Barabasz et al.,
Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks, ACM TOMS 46(4), 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Line = Callable[[Sequence[str], Sequence[str], str], str]


def _statements(kind: str, pairs: Sequence[tuple[str, str]]) -> str:
    return " ".join(f"const {kind} {name} = {value};" for name, value in pairs)


def _input2(d: Sequence[str], o: Sequence[str], kind: str) -> str:
    values = (f"{d[0]} - {d[2]}", f"{d[1]} + {d[2]}", f"{d[2]} - {d[1]}", f"{d[3]} - {d[1]}")
    return _statements(kind, list(zip(o, values)))


def _taps2(g: Sequence[str], o: Sequence[str], kind: str) -> str:
    e, f = f"{o[1]}e", f"{o[1]}f"
    sums = [(e, f"0.5f * ({g[0]} + {g[2]})"), (f, f"0.5f * {g[1]}")]
    return _statements(kind, [*sums, (o[0], g[0]), (o[1], f"{e} + {f}"), (o[2], f"{e} - {f}"), (o[3], g[2])])


def _products2(p: Sequence[str], o: Sequence[str], kind: str) -> str:
    return _statements(kind, [(o[0], f"{p[0]} + {p[1]} + {p[2]}"), (o[1], f"{p[1]} - {p[2]} + {p[3]}")])


def _input4(d: Sequence[str], o: Sequence[str], kind: str) -> str:
    s, u = f"{o[0]}s", f"{o[0]}u"
    return _statements(
        kind,
        [
            (s, f"{d[4]} - {d[2]}"),
            (u, f"{d[3]} - {d[1]}"),
            (o[0], f"1.5f * {u} + ({d[0]} - {d[2]} + {s})"),
            (o[1], f"1.5f * ({d[2]} + {d[3]}) + ({u} + {s})"),
            (o[2], f"1.5f * ({d[3]} - {d[2]}) + ({s} - {u})"),
            (o[3], f"2.0f * {u} + {s}"),
            (o[4], f"-0.5f * {u} + {s}"),
            (o[5], f"1.5f * {s} + ({d[5]} - {d[3]} - {u})"),
        ],
    )


def _taps4(g: Sequence[str], o: Sequence[str], kind: str) -> str:
    e, f = f"{o[1]}e", f"{o[1]}f"
    third = f"{1 / 3:.9g}f"
    return _statements(
        kind,
        [
            (e, f"{third} * ({g[0]} + {g[2]})"),
            (f, f"{third} * {g[1]}"),
            (o[0], g[0]),
            (o[1], f"{e} + {f}"),
            (o[2], f"{f} - {e}"),
            (o[3], f"{-4 / 15:.9g}f * (4.0f * {g[0]} + (2.0f * {g[1]} + {g[2]}))"),
            (o[4], f"{1 / 15:.9g}f * (4.0f * {g[2]} + (-2.0f * {g[1]} + {g[0]}))"),
            (o[5], g[2]),
        ],
    )


def _products4(p: Sequence[str], o: Sequence[str], kind: str) -> str:
    s, u = f"{o[0]}s", f"{o[0]}u"
    return _statements(
        kind,
        [
            (s, f"{p[1]} + {p[2]}"),
            (u, f"{p[1]} - {p[2]}"),
            (o[0], f"{p[0]} + {s} + ({p[3]} + {p[4]})"),
            (o[1], f"-2.0f * {p[4]} + (0.5f * {p[3]} + {u})"),
            (o[2], f"4.0f * {p[4]} + (0.25f * {p[3]} + {s})"),
            (o[3], f"-8.0f * {p[4]} + (0.125f * {p[3]} + ({u} + {p[5]}))"),
        ],
    )


INPUT: dict[int, Line] = {2: _input2, 4: _input4}
TAPS: dict[int, Line] = {2: _taps2, 4: _taps4}
PRODUCTS: dict[int, Line] = {2: _products2, 4: _products4}


def twice(line: Line, sides: tuple[int, int], load: Callable[[int, int], str], kind: str, out: str) -> str:
    """Statements that transform a square of `sides[0]` values each way into one of `sides[1]`, named `{out}{i}_{j}`.

    Columns first, each loaded when its turn comes, then rows.

    Args:
        load: text that reads the value in row i and column j.
    """
    given, made = sides
    lines = []
    for j in range(given):
        column = [f"{out}d{i}_{j}" for i in range(given)]
        lines.append(_statements(kind, [(name, load(i, j)) for i, name in enumerate(column)]))
        lines.append(line(column, [f"{out}t{i}_{j}" for i in range(made)], kind))
    for i in range(made):
        lines.append(line([f"{out}t{i}_{j}" for j in range(given)], [f"{out}{i}_{j}" for j in range(made)], kind))
    return "\n".join(lines)
