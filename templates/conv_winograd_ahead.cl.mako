<%doc>
What Winograd's convolution does ahead of conv_winograd: the transform of images, V = B^T d B per tile and channel, and, where
TAPS says so, that of the taps, U = G g G^T per pair of channels. One launch, for neither needs the other.

One work-item is one work-group. The first `taps_parts` of them own NK * W channels m and a chunk of channels q, and make taps
as [m block][frequency][q][NK * W].

The others own some items, an item being W channels of one image and some rows of tiles. Their rows of pixels are transposed into local
memory as [row][column][W], zero-padded, four columns at a time; every tile of MxM outputs then reads its (M+2)x(M+2) pixels as
vectors along channels. Result [block of tiles][frequency][group of tiles][W channels][tile of the group][W], a group being the
register tile of the products, which read it from end to end. The last W channels begin W before the end, so some
are transformed twice. Each line of the result is asked for two tiles before it is written: the cores wait for lines
that were last read by the other one.

Launch: global (taps_parts + image parts), local 1. Traffic: the input 1 + 2 / rows times, its result (M+2)^2 / M^2 times as much;
the weights once, their result (M+2)^2 / 9 times as much.
</%doc>
<%
A, TW = M + 2, f"{T}{W}"
turn = iload.replace("vec_load", "").replace("load", "")
%>
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${TW})))
void KERNEL(const __global ${IT} *restrict in, __global ${TW} *restrict tiles, __local ${TW} *slab,
% if TAPS:
            const __global ${WT} *restrict weight, __global ${TW} *restrict taps,
            const int m_blocks, const int m_count, const int chunk,
            const ${INDEX} w_offset, const ${INDEX} w_m, const ${INDEX} w_q, const ${INDEX} w_end, const int taps_plane, const int taps_parts,
% endif
            const int q_count, const int q_blocks,
            const ${INDEX} in_offset, const ${INDEX} in_n, const ${INDEX} in_c, const int in_h, const int in_rows, const int in_columns,
            const int base_y, const int base_x, const int tiles_y, const int tiles_x, const int rows_of_tiles, const int row_blocks,
            const int items, const int items_per_part, const int pitch, const int tiles_per_block, const int tiles_per_group,
            const int tiles_plane)
{
% if TAPS:
    const int part = (int)get_global_id(0) - taps_parts;
    if (part < 0) {
        const int block = get_global_id(0) % m_blocks, m0 = block * ${NK * W};
        const int q0 = get_global_id(0) / m_blocks * chunk, count = q_count - q0 < chunk ? q_count - q0 : chunk;
        const __global ${WT} *w_block = weight + w_offset + m0 * w_m;
        const ${INDEX} w_left = w_end - (w_offset + m0 * w_m);
        __global ${TW} *to_taps = taps + (long)block * ${A * A} * taps_plane + q0 * ${NK};
        __local ${TW} *pack = slab;
        ${transform}
        return;
    }
% else:
    const int part = get_global_id(0);
% endif
    const int slab_rows = rows_of_tiles * ${M} + 2;
    const int column0 = base_x > 0 ? base_x : 0;
    const int column1 = in_columns < base_x + pitch ? in_columns : base_x + pitch;
    const int length = column1 > column0 ? column1 - column0 : 0;
    const int first = part * items_per_part;
    const int last = first + items_per_part < items ? first + items_per_part : items;
    for (int row = 0; row < slab_rows; row++) {
        __local ${TW} *to = slab + row * pitch;
        for (int x = 0; x < pitch; x++)
            if (x < column0 - base_x || x >= column0 - base_x + length) to[x] = 0;
    }
    for (int item = first; item < last; item++) {
        const int q_block = item % q_blocks, strip = item / q_blocks;
        const int n = strip / row_blocks, ty0 = strip % row_blocks * rows_of_tiles;
        const int rows = tiles_y - ty0 < rows_of_tiles ? tiles_y - ty0 : rows_of_tiles;
        const int q0 = (q_block + 1) * ${W} > q_count && q_count > ${W} ? q_count - ${W} : q_block * ${W};
        const __global ${IT} *image = in + in_offset + n * in_n + q0 * in_c + column0;
        for (int row = 0; row < rows * ${M} + 2; row++) {
            const int y = ty0 * ${M} + base_y + row;
            __local ${TW} *to = slab + row * pitch + (column0 - base_x);
            int x = 0;
            if (y < 0 || y >= in_rows) {
                for (; x < length; x++) to[x] = 0;
            } else {
                const __global ${IT} *from = image + y * in_h;
                if (q_count >= ${W} && length >= 4)
                    for (; x < length; x += 4) {
                        const int at = x + 4 <= length ? x : length - 4;
                        ${turn}transpose_strip${W}(from + at, in_c, to + at, 1);
                    }
                for (; x < length; x++)
                    for (int q = 0; q < ${W}; q++)
                        ((__local ${T} *)(to + x))[q] = q < q_count ? ${iload}1(from + q * in_c + x) : 0;
            }
        }
        for (int ty = 0; ty < rows; ty++)
            for (int tx = 0; tx < tiles_x; tx++) {
                const int tile = (n * tiles_y + ty0 + ty) * tiles_x + tx, block = tile / tiles_per_block;
                const __local ${TW} *d = slab + ty * ${M} * pitch + tx * ${M};
                const int place = tile - block * tiles_per_block, group = place / tiles_per_group;
                __global ${TW} *v = tiles + (long)block * ${A * A} * tiles_plane
                                    + (group * q_blocks + q_block) * tiles_per_group + (place - group * tiles_per_group);
% for f in range(A * A if FETCH else 0):
                PREFETCH_WRITE(v + ${f} * tiles_plane + 2);
% endfor
${spread}
% for i in range(A):
% for j in range(A):
                v[${i * A + j} * tiles_plane] = v${i}_${j};
% endfor
% endfor
            }
    }
}
