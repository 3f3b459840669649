<%doc>
Direct convolution of few channels per group, the vector along a whole PADDED PLANE: depthwise and grouped convolutions, forward and
backward-data, any image size and stride.

Algorithm. One work-item is one work-group. It owns blocks of MR output channels m of one conv group each, and some items; an item is some images, or some
rows of one. Their input rows are copied into local memory, zero-padded, one after another with `pitch` between them and no gap
between images: the zeros after a row are also those before the next one. Then element f of the plane and element f + r*pitch + s lie under
one another for every f, so vectors run on over the ends of rows and images of any size, and only the padding is computed in vain.
A stride SI of the input splits the slab into SI*SI planes, by residue of row and column; a stride SO of backward-data
gives SO*SO such results, each with the taps that reach it, which are joined again when rows are stored. Per (channel q, tap) NV unaligned vector
loads, MR broadcasts of weights read where they lie, NV*MR multiply-adds. Finished planes lose their padding in local memory
and are stored by the epilogue as rows or, where rows follow each other, as whole images.

Launch: global (groups * m-blocks * parts), local 1. Traffic: input once per m-block, output once.
</%doc>
<%
TW = f"{T}{W}"
PLANES = SIY * SIX
places = sorted({(tap[1], tap[2]) for _, _, taps in phases for tap in taps})
def origin(plane, row):
    return f"place{plane}_{row}"
%>
${rows}
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${TW})))
void KERNEL(const __global ${IT} *restrict in, const __global ${WT} *restrict weight${epilogue_parameters},
            __local ${T} *slab, __local ${T} *done, __local ${T} *lines,
            const int m_blocks, const int m_count, const int q_count,
            const ${INDEX} in_offset, const ${INDEX} in_n, const ${INDEX} in_c, const int in_h, const int in_rows, const int in_columns,
            const int images, const int out_rows, const int out_columns,
            const ${INDEX} w_offset, const ${INDEX} w_g, const ${INDEX} w_m, const ${INDEX} w_q,
            const int items, const int items_per_part, const int blocks_of_rows, const int rows_per_block, const int images_per_item,
            const int plane, const int image_rows, const int slab_rows, const int pitch, const int done_length,
            const int base_y, const int base_x, const int columns, const int flat, const int all_blocks, const int units, const int blocks_per_unit)
{
    const int unit = get_global_id(0) % units, part = get_global_id(0) / units;
    const int end_block = (unit + 1) * blocks_per_unit < all_blocks ? (unit + 1) * blocks_per_unit : all_blocks;
    const int last = (part + 1) * items_per_part < items ? (part + 1) * items_per_part : items;
    const int column0 = base_x > 0 ? base_x : 0;
    const int column1 = in_columns < base_x + columns ? in_columns : base_x + columns;
    for (int q = 0; q < q_count; q++)
        for (int i = 0; i < ${PLANES} * plane; i += ${W}) vec_store${W}((${TW})(0), slab + q * ${PLANES} * plane + i);
% for p, row in places:
    const int ${origin(p, row)} = ${p} * plane + ${row} * pitch;
% endfor
    for (int block = unit * blocks_per_unit; block < end_block; block++) {
    const int g = block / m_blocks, m0 = (block % m_blocks) * ${MR};
    const int channels = m_count - m0 < ${MR} ? m_count - m0 : ${MR};
% for m in range(MR):
    const __global ${WT} *w${m} = weight + w_offset + g * w_g + (m0 + ${f"(channels > {m} ? {m} : 0)" if m else 0}) * w_m;
% endfor
    for (int item = part * items_per_part; item < last; item++) {
        const int n0 = item / blocks_of_rows * images_per_item, y0 = item % blocks_of_rows * rows_per_block;
        const int rows = out_rows - y0 < rows_per_block ? out_rows - y0 : rows_per_block;
        const int some = images - n0 < images_per_item ? images - n0 : images_per_item;
        const int first_row = y0${f" / {SOY}" if SOY > 1 else ""} * ${SIY} + base_y;
        // ---- the slab
        for (int q = 0; q < q_count; q++)
            for (int image = 0; image < some; image++)
                KERNEL_fill(in + in_offset + (n0 + image) * in_n + (g * q_count + q) * in_c + column0, in_h, in_rows,
                            slab + q * ${PLANES} * plane + image * image_rows * pitch, plane, pitch, slab_rows, first_row,
                            column0 - base_x, column1 - column0, blocks_of_rows > 1);
        // ---- the planes, padding and all
        const int length = ((some - 1) * image_rows + (rows + ${SOY - 1}) / ${SOY} - 1) * pitch + (out_columns + ${SOX - 1}) / ${SOX};
        for (int f = 0; f < length; f += ${NV * W}) {
% for i, (by, bx, taps) in enumerate(phases):
            {
                ${TW} ${", ".join(f"c{m}_{v} = 0" for m in range(MR) for v in range(NV))};
                const __local ${T} *p = slab + f;
% if not ONE:
                ${INDEX} at = 0;
                for (int q = 0; q < q_count; q++) {
% endif
% for t, place, row, column in taps:
                {
% for v in range(NV):
                    const ${TW} v${v} = vec_load${W}(p + ${origin(place, row)} + ${column + v * W});
% endfor
% for m in range(MR):
                    { const ${T} w = ${wload}1(w${m} + ${"" if ONE else "at + "}${t});
% for v in range(NV):
                    c${m}_${v} += v${v} * w;
% endfor
                    }
% endfor
                }
% endfor
% if not ONE:
                    p += ${PLANES} * plane;
                    at += w_q;
                }
% endif
% for m in range(MR):
% for v in range(NV):
                vec_store${W}(c${m}_${v}, done + ${f"({m} * {len(phases)} + {by * SOX + bx})" if len(phases) > 1 else m} * done_length + f + ${v * W});
% endfor
% endfor
            }
% endfor
        }
        // ---- without padding, finished and stored
        const int store_rows = flat ? 1 : rows, store_columns = flat ? rows * out_columns : out_columns;
        for (int m = 0; m < channels; m++)
            for (int image = 0; image < some; image++) {
                const __local ${T} *from = done + m * ${len(phases)} * done_length + image * image_rows * pitch;
% if SOX == 1 and SOY == 1:
                KERNEL_copy(from, pitch, lines, out_columns, out_columns, rows);
% else:
                for (int row = 0; row < rows; row++)
% if SOX == 1:
                    KERNEL_copy(from + row % ${SOY} * done_length + row / ${SOY} * pitch, 0, lines + row * out_columns, 0, out_columns, 1);
% else:
                    KERNEL_join(from + ${f"row % {SOY} * {SOX} * done_length + row / {SOY}" if SOY > 1 else "row"} * pitch, done_length, lines + row * out_columns, out_columns);
% endif
% endif
                const int n = n0 + image, c = g * m_count + m0 + m;
                for (int row = 0; row < store_rows; row++) {
                    const int y = y0 + row;
                    const __local ${T} *line = lines + row * out_columns;
                    int x = 0;
                    for (; x + ${W} <= store_columns; x += ${W}) {
                        const ${TW} value = vec_load${W}(line + x);
                        ${store[W]}
                    }
% if W > 4:
                    for (; x + 4 <= store_columns; x += 4) {
                        const ${T}4 value = vec_load4(line + x);
                        ${store[4]}
                    }
% endif
                    for (; x < store_columns; x++) {
                        const ${T} value = line[x];
                        ${store[1]}
                    }
                }
            }
    }
    }
}
