<%doc>
Direct convolution of volumes with the vector along OUTPUT CHANNELS: forward and backward-data in one text.

Algorithm. One work-item is one work-group. It owns NK*W output channels m of one conv group and some items; an item is a block of rows
and columns of one output plane. Per chunk of reduction channels q: the weights are packed (transposed in registers) into local memory
as [q][depth tap][tap][NK*W]. Per item and `step` channels of the chunk, the planes of the input that its depth taps meet are copied,
zero-padded, into the slab [depth tap][q][row][column]; taps that meet no plane are left out, so depth padding and the holes of a
strided gradient cost nothing. The slab and the weights of one step stay in the first-level cache while all tiles pass over them.
A tile is TY x TX output pixels x NK vectors of accumulators, which stay in registers over all depth taps and channels of the step:
per (depth tap, q, tap) NK aligned vector loads, TY*TX broadcasts, TY*TX*NK multiply-adds. Finished accumulators wait in local memory
as [pixel][NK*W] (between steps and chunks), and are transposed back to NCDHW when they are stored.

Depth: output plane z meets input plane (z * z_step + z_base + tap * z_apart) / z_divisor, all numbers, so forward and backward-data of
any depth stride are one text. Rows and columns of a strided backward-data run in phases, the residue classes modulo the stride.

Launch: global (m-blocks * parts), local 1. Traffic: input depth-taps times per m-block (from cache), weights once per part, output once.
Source: the slab form of conv_channels; phases: Dumoulin & Visin, A guide to convolution arithmetic.
</%doc>
<%
M = NK * W
TW = f"{T}{W}"
shorter = [v for v in (8, 4) if v < W]
def steps(count, roll):
    return range(1) if roll else range(count)
def accumulators(*parts):
    return [f"c{i}_{j}_{k}" for i in range(TY) for j in range(TX) for k in range(NK)]
prefix = wload.replace("vec_load", "").replace("load", "")
%>
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${TW})))
void KERNEL(const __global ${IT} *restrict in, const __global ${WT} *restrict weight${epilogue_parameters},
            __local ${T} *slab, __local ${TW} *pack, __local ${TW} *sums,
            const int m_blocks, const int m_count, const int q_count,
            const ${INDEX} in_offset, const ${INDEX} in_n, const ${INDEX} in_c, const ${INDEX} in_d, const ${INDEX} in_h,
            const int in_planes, const int in_rows, const int in_columns,
            const int out_planes, const int out_rows, const int out_columns,
            const ${INDEX} w_offset, const ${INDEX} w_g, const ${INDEX} w_m, const ${INDEX} w_q, const ${INDEX} w_end,
            const int depth_taps, const int z_step, const int z_base, const int z_apart, const int z_divisor, const int tap_step,
            const int items, const int items_per_part, const int blocks_y, const int blocks_x,
            const int rows_per_block, const int columns_per_block,
            const int pitch, const int slab_rows, const int chunk, const int step, const int sums_pitch, const int sums_item,
            const int base_y, const int base_x, const int flat, const int all_blocks, const int tap_pitch, const int one)
{
    const int block = get_global_id(0) % all_blocks, part = get_global_id(0) / all_blocks;
    const int g = block / m_blocks, m0 = (block % m_blocks) * ${M};
    const int plane = slab_rows * pitch, taps = depth_taps * ${RS};
    const int last = (part + 1) * items_per_part < items ? (part + 1) * items_per_part : items;
    const __global ${WT} *w_block = weight + w_offset + g * w_g + m0 * w_m;
    const ${INDEX} w_left = w_end - (w_offset + g * w_g + m0 * w_m);
    __local ${T} *turned = (__local ${T} *)(pack + chunk * taps * ${NK});

    for (int q0 = 0; q0 < q_count; q0 += chunk) {
        const int count = q_count - q0 < chunk ? q_count - q0 : chunk;
        // ---- weights of this chunk: [q][depth tap][tap][m]
        const int runs = ${"1" if RUN else "count"}, length = ${"count * taps" if RUN else "taps"};
        for (int run = 0; run < runs; run++) {
            for (int k = 0; k < ${NK}; k++) {
                const ${INDEX} from = (q0 + run) * w_q + k * ${W} * w_m;
                const int rows = m_count - m0 - k * ${W};
                __local ${TW} *to = pack + run * taps * ${NK} + k;
                for (int e = 0; e < length; e += ${W}) {
                    const int left = length - e < ${W} ? length - e : ${W};
                    if (rows >= ${W} && from + ${W - 1} * w_m + e + ${W} <= w_left) {
                        ${prefix}transpose${W}(w_block + from + e, w_m, to + e * ${NK}, ${NK});
                    } else {
                        for (int i = 0; i < left; i++) {
                            __local ${T} *lane = (__local ${T} *)(to + (e + i) * ${NK});
                            for (int m = 0; m < ${W}; m++)
                                lane[m] = m < rows ? ${wload}1(w_block + from + m * w_m + e + i) : 0;
                        }
                    }
                }
            }
        }
        for (int item = part * items_per_part; item < last; item++) {
            const int bx = item % blocks_x, by = item / blocks_x % blocks_y, z = item / blocks_x / blocks_y % out_planes;
            const int n = item / blocks_x / blocks_y / out_planes, y0 = by * rows_per_block, x_first = bx * columns_per_block;
            const int rows = out_rows - y0 < rows_per_block ? out_rows - y0 : rows_per_block;
            const int columns = out_columns - x_first < columns_per_block ? out_columns - x_first : columns_per_block;
            __local ${TW} *sum_item = sums + (item - part * items_per_part) * sums_item;
            // ---- the depth taps that meet a plane, and the slab: rows of the chunk's input channels, zero outside the image
            const __global ${IT} *image = in + in_offset + n * in_n + (g * q_count + q0) * in_c;
            const int left_column = x_first${f" / {SOX}" if SOX > 1 else ""} * ${SIX} + base_x;
            const int column0 = left_column > 0 ? left_column : 0;
            const int column1 = in_columns < left_column + pitch ? in_columns : left_column + pitch;
            const int before = column0 - left_column < pitch ? column0 - left_column : pitch;
            for (int q1 = 0; q1 < count; q1 += step) {
            const int some = count - q1 < step ? count - q1 : step;
            int first_tap = depth_taps, planes = 0;
            for (int tap = 0; tap < depth_taps; tap++) {
                const int at = z * z_step + z_base + tap * z_apart;
                if (at < 0 || at % z_divisor != 0 || at / z_divisor >= in_planes) continue;
                if (planes == 0) first_tap = tap;
                for (int q = 0; q < some; q++)
                    for (int row = 0; row < slab_rows; row++) {
                        const int y = y0${f" / {SOY}" if SOY > 1 else ""} * ${SIY} + base_y + row;
                        __local ${T} *to = slab + (planes * step + q) * plane + row * pitch;
                        int x = 0;
                        if (y >= 0 && y < in_rows && column1 > column0) {
                            const __global ${IT} *from = image + (q1 + q) * in_c + (at / z_divisor) * in_d + y * in_h + left_column;
                            const int end = column1 - left_column;
                            for (; x < before; x++) to[x] = 0;
                            for (; x + ${W} <= end; x += ${W}) vec_store${W}(${iload}${W}(from + x), to + x);
% for v in shorter:
                            if (x + ${v} <= end) { vec_store${v}(${iload}${v}(from + x), to + x); x += ${v}; }
% endfor
                            for (; x < end; x++) to[x] = ${iload}1(from + x);
                        }
                        for (; x + ${W} <= pitch; x += ${W}) vec_store${W}((${TW})(0), to + x);
                        for (; x < pitch; x++) to[x] = 0;
                    }
                planes++;
            }
            // ---- tiles. APART: the distances of tap rows and columns are no constants in this text. Compilers that see that a pixel is
            // read again for the next tap carry it over in a register, and run out of registers where a tile is many pixels.
            const long apart = one;
% for by, bx, tap_rows, tap_columns in phases:
            {
                const int phase_rows = (rows - ${by} + ${SOY - 1}) / ${SOY}, phase_columns = (columns - ${bx} + ${SOX - 1}) / ${SOX};
                for (int ty = 0; ty < phase_rows; ty += ${TY})
                    for (int tx = 0; tx < phase_columns; tx += ${TX}) {
                        __local ${TW} *to = sum_item + ((ty * ${SOY} + ${by}) * sums_pitch + tx * ${SOX} + ${bx}) * ${NK};
                        ${TW} ${", ".join(accumulators())};
                        if (q0 + q1 == 0) {
                            ${" = ".join(accumulators())} = 0;
                        } else {
% for i in range(TY):
% for j in range(TX):
% for k in range(NK):
                            c${i}_${j}_${k} = to[(${i * SOY} * sums_pitch + ${j * SOX}) * ${NK} + ${k}];
% endfor
% endfor
% endfor
                        }
% if tap_rows[2] and tap_columns[2]:
<%
r0, dr, nr, a0, da = tap_rows
s0, ds, ns, b0, db = tap_columns
roll_columns = ns * TX * TY * NK * len(phases) > 512
roll_rows = roll_columns or RS * TX * TY * NK > 520
%>
                        for (int found = 0; found < planes; found++) {
                        const __local ${T} *p = slab + found * step * plane + ty * ${SIY} * pitch + tx * ${SIX};
                        const __local ${TW} *w = pack + (q1 * depth_taps + first_tap + found * tap_step) * ${RS * NK};
                        for (int q = 0; q < some; q++) {
% if roll_rows:
                            for (int r = 0; r < ${nr}; r++) {
% endif
% for r in steps(nr, roll_rows):
<%
a = f"({a0} + r * {da})" if roll_rows else str(a0 + r * da)
t = f"({r0} + r * {dr}) * {S}" if roll_rows else str((r0 + r * dr) * S)
%>
% for i in range(TY):
                            const __local ${T} *p${r}_${i} = p + ${f"{i * SIY} * pitch + {a} * tap_pitch" if APART else f"({i * SIY} + {a}) * pitch"};
% endfor
% if roll_columns:
                            for (int s = 0; s < ${ns}; s++) {
% endif
% for s in steps(ns, roll_columns):
<%
b = (f"({b0} + s * {db})" if roll_columns else f"{b0 + s * db}") + (" * apart" if APART else "")
u = f"{s0} + s * {ds}" if roll_columns else str(s0 + s * ds)
%>
                            {
% for k in range(NK):
                                const ${TW} w${k} = w[(${t} + ${u}) * ${NK} + ${k}];
% endfor
% for i in range(TY):
% for j in range(TX):
                                { const ${T} v = p${r}_${i}[${j * SIX} + ${b}];
% for k in range(NK):
                                c${i}_${j}_${k} += w${k} * v;
% endfor
                                }
% endfor
% endfor
                            }
% endfor
% if roll_columns:
                            }
% endif
% endfor
% if roll_rows:
                            }
% endif
                            p += plane;
                            w += taps * ${NK};
                        }
                        }
% endif
% for i in range(TY):
% for j in range(TX):
% for k in range(NK):
                        to[(${i * SOY} * sums_pitch + ${j * SOX}) * ${NK} + ${k}] = c${i}_${j}_${k};
% endfor
% endfor
% endfor
                    }
            }
% endfor
            }
            if (q0 + count < q_count) continue;
            // ---- transposed back to rows of pixels, finished and stored
            const int store_rows = flat ? 1 : rows, store_columns = flat ? rows * out_columns : columns;
            for (int k = 0; k < ${NK}; k++) {
                const int channels = m_count - m0 - k * ${W} < ${W} ? m_count - m0 - k * ${W} : ${W};
                for (int row = 0; row < store_rows; row++) {
                    const int y = y0 + row;
                    for (int x0 = 0; x0 < store_columns; x0 += ${W}) {
                        const __local ${TW} *from = sum_item + (row * sums_pitch + x0) * ${NK} + k;
                        transpose${W}((const __local ${T} *)from, ${NK * W}, (__local ${TW} *)turned, 1);
                        for (int i = 0; i < channels; i++) {
                            const int c = g * m_count + m0 + k * ${W} + i;
                            const __local ${T} *line = turned + i * ${W} - (x_first + x0);
                            const int end = x_first + store_columns;
                            int x = x_first + x0;
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
        }
    }
}
