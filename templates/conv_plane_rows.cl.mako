<%doc>
Functions of the plane forms that move rows of an image, rendered into their texts. A row of at least v elements is moved in vectors of
v of which the last is shifted back to end with the row: what is moved twice is the same.

  KERNEL_copy(from, from_step, to, to_step, length, rows)    rows as they are
  KERNEL_part(from, to, apart, first, length)        to S residue classes: element i goes to to[(first + i) % S * apart + (first + i) / S]
  KERNEL_join(from, apart, to, length)               back: to[i] = from[i % S * apart + i / S]
  KERNEL_fill(...)                                   an image's part of the slab, by copies or parts; rows outside it, if asked, with zeros
</%doc>
<%
sizes = [v for v in (16, 8, 4) if v <= W]
def kind(v):
    return T if v == 1 else f"{T}{v}"
%>
<%def name="copy(space, S, load)">
INLINE void KERNEL_copy(const ${space} ${S} *from, const int from_step, __local ${T} *to, const int to_step, const int length, const int rows) {
% for v in sizes:
    ${"if" if v == sizes[0] else "else if"} (length >= ${v})
        for (int row = 0; row < rows; row++, from += from_step, to += to_step) {
% if v == sizes[0]:
            for (int i = 0; i < length; i += ${v}) {
                const int x = i + ${v} <= length ? i : length - ${v};
                vec_store${v}(${load}${v}(from + x), to + x);
            }
% else:
            vec_store${v}(${load}${v}(from), to);
            if (length > ${v}) vec_store${v}(${load}${v}(from + length - ${v}), to + length - ${v});
% endif
        }
% endfor
    ${"else" if sizes else ""}
        for (int row = 0; row < rows; row++, from += from_step, to += to_step)
            for (int i = 0; i < length; i++) to[i] = ${load}1(from + i);
}
</%def>
% for S, load in stored:
${copy("__global", S, load)}
% endfor
% if SOX == 1:
${copy("__local", T, "vec_load")}
% endif
% if SIX > 1:
INLINE void KERNEL_part(const __global ${IT} *from, __local ${T} *to, const int apart, const int first, const int length) {
    int x = 0;
% if SIX == 2:
    __local ${T} *even = to + (first & 1) * apart + first / 2, *odd = to + (~first & 1) * apart + (first + 1) / 2;
% if W >= 4:
    for (; x + ${2 * W} <= length; x += ${2 * W}) {
        const ${kind(W)} a = ${iload}${W}(from + x), b = ${iload}${W}(from + x + ${W});
        vec_store${W}((${kind(W)})(a.even, b.even), even + x / 2);
        vec_store${W}((${kind(W)})(a.odd, b.odd), odd + x / 2);
    }
% for v in [v for v in (8, 4, 2) if 2 * v <= W]:
    if (x + ${2 * v} <= length) {
        const ${kind(2 * v)} a = ${iload}${2 * v}(from + x);
        vec_store${v}(a.even, even + x / 2);
        vec_store${v}(a.odd, odd + x / 2);
        x += ${2 * v};
    }
% endfor
% endif
    for (; x + 2 <= length; x += 2) {
        even[x / 2] = ${iload}1(from + x);
        odd[x / 2] = ${iload}1(from + x + 1);
    }
    if (x < length) even[x / 2] = ${iload}1(from + x);
% else:
    for (; x < length; x++) to[(first + x) % ${SIX} * apart + (first + x) / ${SIX}] = ${iload}1(from + x);
% endif
}
% endif
INLINE void KERNEL_fill(const __global ${IT} *image, const int in_h, const int in_rows, __local ${T} *to, const int plane, const int pitch,
                        const int slab_rows, const int first_row, const int first, const int length, const int zeros) {
    for (int phase = 0; phase < ${SIY}; phase++, to += ${SIX} * plane) {
        const int start = first_row + phase, end = in_rows - start;
        const int row0 = start < 0 ? (${SIY - 1} - start) / ${SIY} : 0, below = end > 0 ? (end + ${SIY - 1}) / ${SIY} : 0;
        const int row1 = below < slab_rows ? below : slab_rows;
        if (length > 0 && row0 < row1) {
            const __global ${IT} *from = image + (start + row0 * ${SIY}) * in_h;
% if SIX == 1:
            KERNEL_copy(from, ${SIY} * in_h, to + row0 * pitch + first, pitch, length, row1 - row0);
% else:
            for (int row = row0; row < row1; row++, from += ${SIY} * in_h) KERNEL_part(from, to + row * pitch, plane, first, length);
% endif
        }
        if (zeros)
            for (int row = 0; row < slab_rows; row++)
                if (row < row0 || row >= row1)
                    for (int i = 0; i < ${SIX}; i++)
                        for (int x = 0; x < pitch; x++) to[i * plane + row * pitch + x] = 0;
    }
}
% if SOX > 1:
INLINE void KERNEL_join(const __local ${T} *from, const int apart, __local ${T} *to, const int length) {
    int x = 0;
% if SOX == 2 and W >= 4:
% for v in [v for v in (16, 8, 4) if v <= W]:
    ${f"for (; x + {v} <= length; x += {v})" if v == W else f"if (x + {v} <= length)"} {
        ${kind(v)} pair;
        pair.even = vec_load${v // 2}(from + x / 2);
        pair.odd = vec_load${v // 2}(from + apart + x / 2);
        vec_store${v}(pair, to + x);
${f"        x += {v};" if v < W else ""}
    }
% endfor
% endif
    for (; x < length; x++) to[x] = from[x % ${SOX} * apart + x / ${SOX}];
}
% endif
