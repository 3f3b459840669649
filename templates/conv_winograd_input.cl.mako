<%doc>
Winograd's transform of images: V = B^T d B per tile and channel, ahead of conv_winograd.

One work-item is one work-group with some items; an item is W channels of one image and some rows of tiles. Their rows
of pixels are transposed into local memory as [row][column][W], zero-padded, four columns at a time; every tile of MxM outputs
then reads its (M+2)x(M+2) pixels as vectors along channels. Result [block of tiles][frequency][group of tiles][W channels][tile of
the group][W], a group being the register tile of the products, which read it from end to end. The last W channels begin W before the
end, so some are transformed twice.

Launch: global (parts), local 1. Traffic: the input 1 + 2 / rows times, the result (M+2)^2 / M^2 times as much.
</%doc>
<%
A, TW = M + 2, f"{T}{W}"
turn = iload.replace("vec_load", "").replace("load", "")
%>
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${TW})))
void KERNEL(const __global ${IT} *restrict in, __global ${TW} *restrict tiles, __local ${TW} *slab,
            const int q_count, const int q_blocks,
            const ${INDEX} in_offset, const ${INDEX} in_n, const ${INDEX} in_c, const int in_h, const int in_rows, const int in_columns,
            const int base_y, const int base_x, const int tiles_y, const int tiles_x, const int rows_of_tiles, const int row_blocks,
            const int items, const int items_per_part, const int pitch, const int tiles_per_block, const int tiles_per_group,
            const int tiles_plane)
{
    const int slab_rows = rows_of_tiles * ${M} + 2;
    const int column0 = base_x > 0 ? base_x : 0;
    const int column1 = in_columns < base_x + pitch ? in_columns : base_x + pitch;
    const int length = column1 > column0 ? column1 - column0 : 0;
    const int first = get_global_id(0) * items_per_part;
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
                        ${turn}transpose_strip${W}(from + at, in_c, to + at);
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
${spread}
% for i in range(A):
% for j in range(A):
                v[${i * A + j} * tiles_plane] = v${i}_${j};
% endfor
% endfor
            }
    }
}
