<%doc>
Gradient of the weight of a convolution of volumes, with the vector along OUTPUT CHANNELS k.

  dw[k, c, q, r, s] = sum n,z,y,x  dy[n, k, z, y, x] * x[n, c, z*SZ - PZ + q*DZ, y*SY - PY + r*DY, x*SX - PX + s*DX]

Algorithm. One work-item is one work-group. It owns NK*W channels k, `chunk` of the pairs j = (input channel c, depth tap q) of one conv
group, and some items; an item is a block of rows and columns of some output planes (n, z). Per item dy is transposed in registers into
local memory as [plane][pixel][NK*W], and the rows of the input that each pair sees are copied, zero-padded, into the slab
[plane][j][row][column]. A tile is TC pairs x TR x TS taps x NK vectors of accumulators; per pixel NK aligned vector loads, TC*TR*TS
broadcasts, TC*TR*TS*NK multiply-adds. The sums stay in local memory as [j][tap][NK*W] until the last item and are transposed back when
they are stored: by the epilogue, or, where several parts share an output, into scratch [part][k][j][tap], which conv_reduce adds up in
a fixed order.

Launch: global (blocks * parts), local 1. Traffic: dy once per block of pairs, x depth-taps times (from cache) once per block of k.
</%doc>
<%
M = NK * W
TW = f"{T}{W}"
shorter = [v for v in (8, 4) if v < W]
places = [(i, j, s) for i in range(TC) for j in range(TR) for s in range(TS)]
def acc(place, k):
    return f"c{place[0]}_{place[1]}_{place[2]}_{k}"
def at(place, k):
    return f"to[({place[0]} * {R * S} + {place[1] * S + place[2]}) * {NK} + {k}]"
prefix = aload.replace("vec_load", "").replace("load", "")
%>
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${TW})))
void KERNEL(const __global ${AT} *restrict given, const __global ${BT} *restrict in${epilogue_parameters},
            __local ${T} *slab, __local ${TW} *turned, __local ${TW} *sums,
            const int k_blocks, const int c_blocks, const int k_count, const int c_count, const int depth_taps,
            const ${INDEX} g_offset, const ${INDEX} g_n, const ${INDEX} g_c, const ${INDEX} g_d, const ${INDEX} g_h,
            const ${INDEX} in_offset, const ${INDEX} in_n, const ${INDEX} in_c, const ${INDEX} in_d, const ${INDEX} in_h,
            const int in_planes, const int in_rows, const int in_columns,
            const int images, const int out_planes, const int out_rows, const int out_columns,
            const int z_step, const int z_base, const int z_apart,
            const int items, const int items_per_part, const int blocks_y, const int blocks_x,
            const int rows_per_block, const int columns_per_block, const int planes_per_item,
            const int pitch, const int slab_rows, const int chunk, const int base_y, const int base_x, const int row_length,
            const int all_blocks, const int dilation)
{
    const int block = get_global_id(0) % all_blocks, part = get_global_id(0) / all_blocks;
    const int pairs = c_count * depth_taps;
    const int j0 = block % c_blocks * chunk, k0 = block / c_blocks % k_blocks * ${M}, g = block / c_blocks / k_blocks;
    const int count = pairs - j0 < chunk ? pairs - j0 : chunk;
    const int held = (chunk + ${TC - 1}) / ${TC} * ${TC};
    const int last = (part + 1) * items_per_part < items ? (part + 1) * items_per_part : items;
    const int plane = slab_rows * pitch, all_planes = images * out_planes;
    for (int i = 0; i < held * ${R * S * NK}; i++) sums[i] = 0;
    for (int j = count; j < held; j++)
        for (int i = 0; i < planes_per_item; i++)
            for (int e = 0; e < plane; e++) slab[(i * held + j) * plane + e] = 0;

    for (int item = part * items_per_part; item < last; item++) {
        const int bx = item % blocks_x, by = item / blocks_x % blocks_y, t0 = item / blocks_x / blocks_y * planes_per_item;
        const int y0 = by * rows_per_block, x_first = bx * columns_per_block;
        const int rows = out_rows - y0 < rows_per_block ? out_rows - y0 : rows_per_block;
        const int columns = out_columns - x_first < columns_per_block ? out_columns - x_first : columns_per_block;
        const int some = all_planes - t0 < planes_per_item ? all_planes - t0 : planes_per_item;
        const int pixels = rows * columns;
        const int left_column = x_first * ${SX} + base_x;
        const int column0 = left_column > 0 ? left_column : 0;
        const int column1 = in_columns < left_column + pitch ? in_columns : left_column + pitch;
        const int before = column0 - left_column;
        for (int i = 0; i < some; i++) {
            const int n = (t0 + i) / out_planes, z = (t0 + i) % out_planes;
            // ---- dy as [pixel][k]
            const __global ${AT} *image = given + g_offset + n * g_n + (g * k_count + k0) * g_c + z * g_d + y0 * g_h + x_first;
            const int whole = g_h == columns;
            const int lines = whole ? 1 : rows, length = whole ? pixels : columns;
            for (int k = 0; k < ${NK}; k++)
                for (int line = 0; line < lines; line++) {
                    const int channels = k_count - k0 - k * ${W};
                    const __global ${AT} *from = image + k * ${W} * g_c + line * g_h;
                    __local ${TW} *to = turned + (i * pixels + line * columns) * ${NK} + k;
                    for (int x = 0; x < length; x += ${W}) {
                        if (x + ${W} > length && length >= ${W}) x = length - ${W};
                        if (channels >= ${W} && length >= ${W}) {
                            ${prefix}transpose${W}(from + x, g_c, to + x * ${NK}, ${NK});
                        } else {
                            const int end = x + ${W} < length ? x + ${W} : length;
                            for (int e = x; e < end; e++) {
                                __local ${T} *lane = (__local ${T} *)(to + e * ${NK});
                                for (int m = 0; m < ${W}; m++) lane[m] = m < channels ? ${aload}1(from + m * g_c + e) : 0;
                            }
                        }
                    }
                }
            // ---- the slab: rows that each pair of channel and depth tap sees, zero where they lie outside
            for (int j = 0; j < count; j++) {
                const int c = (j0 + j) / depth_taps, at = z * z_step + z_base + (j0 + j) % depth_taps * z_apart;
                const __global ${BT} *source = in + in_offset + n * in_n + (g * c_count + c) * in_c + at * in_d + left_column;
                const int inside = at >= 0 && at < in_planes && column1 > column0;
                for (int row = 0; row < slab_rows; row++) {
                    const int y = y0 * ${SY} + base_y + row;
                    __local ${T} *to = slab + (i * held + j) * plane + row * pitch;
                    int x = 0;
                    if (inside && y >= 0 && y < in_rows) {
                        const __global ${BT} *from = source + y * in_h;
                        const int end = column1 - left_column;
                        for (; x < before; x++) to[x] = 0;
                        for (; x + ${W} <= end; x += ${W}) vec_store${W}(${bload}${W}(from + x), to + x);
% for v in shorter:
                        if (x + ${v} <= end) { vec_store${v}(${bload}${v}(from + x), to + x); x += ${v}; }
% endfor
                        for (; x < end; x++) to[x] = ${bload}1(from + x);
                    }
                    for (; x + ${W} <= pitch; x += ${W}) vec_store${W}((${TW})(0), to + x);
                    for (; x < pitch; x++) to[x] = 0;
                }
            }
        }
        // ---- tiles. The distance of tap columns is no constant in this text: compilers that see that a pixel is read again one
        // iteration later carry it over in a register, and run out of registers.
        const long apart = dilation;
        for (int j = 0; j < count; j += ${TC}) {
% if TR < R:
            for (int r = 0; r < ${R}; r += ${TR}) {
% else:
            { const int r = 0;
% endif
% if TS < S:
            for (int s = 0; s < ${S}; s += ${TS}) {
% else:
            { const int s = 0;
% endif
                __local ${TW} *to = sums + (j * ${R * S} + r * ${S} + s) * ${NK};
                ${TW} ${", ".join(f"{acc(p, k)} = {at(p, k)}" for p in places for k in range(NK))};
                for (int i = 0; i < some; i++)
                    for (int y = 0; y < rows; y++) {
                        const __local ${TW} *w = turned + (i * pixels + y * columns) * ${NK};
                        const __local ${T} *p = slab + (i * held + j) * plane + (y * ${SY} + r * ${DY}) * pitch + s * dilation;
% for i in range(TC):
% for j in range(TR):
                        const __local ${T} *p${i}_${j} = p + ${i} * plane + ${j * DY} * pitch;
% endfor
% endfor
                        for (int x = 0; x < columns; x++) {
% for k in range(NK):
                            const ${TW} w${k} = w[x * ${NK} + ${k}];
% endfor
% for place in places:
                            { const ${T} v = p${place[0]}_${place[1]}[x * ${SX} + ${place[2]} * apart];
% for k in range(NK):
                            ${acc(place, k)} += w${k} * v;
% endfor
                            }
% endfor
                        }
                    }
% for place in places:
% for k in range(NK):
                ${at(place, k)} = ${acc(place, k)};
% endfor
% endfor
            }
            }
        }
    }
    // ---- transposed back to [k][pair][tap], finished and stored
    __local ${T} *lines = (__local ${T} *)turned;
    const int length = count * ${R * S}, first = j0 * ${R * S};
    for (int k = 0; k < ${NK}; k++) {
        const int channels = k_count - k0 - k * ${W} < ${W} ? k_count - k0 - k * ${W} : ${W};
        for (int x0 = 0; x0 < length; x0 += ${W}) {
            const __local ${TW} *from = sums + x0 * ${NK} + k;
            transpose${W}((const __local ${T} *)from, ${NK * W}, (__local ${TW} *)lines, 1);
            for (int i = 0; i < channels; i++) {
                const int n = g * k_count + k0 + k * ${W} + i;
                const __local ${T} *line = lines + i * ${W} - (first + x0);
                const int end = first + length;
                int x = first + x0;
                if (x + ${W} <= end) {
                    const ${TW} value = vec_load${W}(line + x);
                    ${store[W]}
                } else {
% if W > 4:
                    for (; x + 4 <= end; x += 4) {
                        const ${T}4 value = vec_load4(line + x);
                        ${store[4]}
                    }
% endif
                    for (; x < end; x++) {
                        const ${T} value = line[x];
                        ${store[1]}
                    }
                }
            }
        }
    }
}
