<%doc>
Winograd's convolution of 3x3 kernels with stride 1, F(M, 3): the products of transformed tiles and taps, and what follows them.

One work-item is one work-group: a block of tiles (of all images, one after the other) and NK * W output channels m. Per frequency
a matrix product: MT tiles x NK vectors of channels in registers, per channel q NK vector loads of taps, MT broadcasts of
tiles. The products stay in local memory as [frequency][tile][NK]; the inverse transform A^T p A of a run of tiles of
one row gives [row][column][W] pixels, which are transposed back to NCHW, finished and stored. So the products
never leave the core's cache, and spatial sizes may be anything.

% if CHUNKED:
The taps are transformed here, a chunk of channels q at a time, for there are few tiles and many channels: transforming ahead would
write and read (M+2)^2/9 times the weights.
% endif

Launch: global (m blocks * blocks of tiles), local 1; neighbours share a block of tiles. Traffic: transformed tiles once per m block,
transformed taps once per block of tiles, from the second-level cache where they fit (prefetched: 12 % faster on three compilers); output once.
Source: Lavin and Gray, CVPR 2016; shapes of tiles measured, see benchmarks/NOTES.md.
</%doc>
<%
A, TW = M + 2, f"{T}{W}"
X = A * A
acc = [(t, k) for t in range(MT) for k in range(NK)]
%>
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${TW})))
% if CHUNKED:
void KERNEL(const __global ${WT} *restrict weight, __global ${TW} *taps, const __global ${T} *restrict tiles${epilogue_parameters},
            __local ${TW} *pack, const int chunk,
            const ${INDEX} w_offset, const ${INDEX} w_m, const ${INDEX} w_q, const ${INDEX} w_end,
% else:
void KERNEL(const __global ${TW} *restrict taps, const __global ${T} *restrict tiles${epilogue_parameters},
% endif
            ${"__global" if PRODUCTS_GLOBAL else "__local"} ${TW} *products, __local ${TW} *pixels, __local ${TW} *turned,
            const int m_blocks, const int m_count, const int q_count, const int q_skip,
            const int taps_plane, const int tiles_plane, const int tiles_step, const int products_plane,
            const int all_tiles, const int tiles_per_block, const int first_row, const int tiles_y, const int tiles_x,
            const int out_rows, const int out_columns, const int most, const int flat)
{
    const int m_block = get_global_id(0) % m_blocks, m0 = m_block * ${NK * W};
    const int block = get_global_id(0) / m_blocks, tile0 = block * tiles_per_block;
    const int count_tiles = all_tiles - tile0 < tiles_per_block ? all_tiles - tile0 : tiles_per_block;
% if PRODUCTS_GLOBAL:
    products += get_global_id(0) * (size_t)(${X} * products_plane);
% endif
% if CHUNKED:
    const __global ${WT} *w_block = weight + w_offset + m0 * w_m;
    const ${INDEX} w_left = w_end - (w_offset + m0 * w_m);
    __global ${TW} *to_taps = taps + get_global_id(0) * (size_t)(${X} * taps_plane);
    for (int q0 = 0; q0 < q_count; q0 += chunk) {
        const int count = q_count - q0 < chunk ? q_count - q0 : chunk;
        ${transform}
% if FETCH:
        const __global ${WT} *w_next = w_block + (q0 + chunk) * w_q;
% endif
% else:
        const int q0 = 0, count = q_count;
% endif
    for (int f = 0; f < ${X}; f++) {
        const __global ${T} *v_block = tiles + (((long)block * ${X} + f) * tiles_plane + q0 * ${MT} / ${W}) * ${W};
% if CHUNKED:
        const __global ${TW} *u_block = to_taps + f * taps_plane;
% if FETCH:
        // some lines of the weights of the next chunk
% if RUN:
        for (int e = f * ${LINE}; e < chunk * 9; e += ${X * LINE})
            for (int m = 0; m < ${NK * W}; m++) PREFETCH(w_next + m * w_m + e);
% else:
        for (int q = f; q < chunk; q += ${X})
            for (int m = 0; m < ${NK * W}; m++) PREFETCH(w_next + q * w_q + m * w_m);
% endif
% endif
% else:
        const __global ${TW} *u_block = taps + ((long)m_block * ${X} + f) * taps_plane;
% endif
        for (int t = 0; t < count_tiles; t += ${MT}) {
            ${"__global" if PRODUCTS_GLOBAL else "__local"} ${TW} *to = products + f * products_plane + t * ${NK};
            const __global ${T} *v = v_block + t * tiles_step;
            const __global ${TW} *u = u_block;
            ${TW} ${", ".join(f"c{t}_{k}" for t, k in acc)};
% if CHUNKED:
            if (q0 > 0) {
% for t, k in acc:
                c${t}_${k} = to[${t * NK + k}];
% endfor
            } else
% endif
            {
                ${" = ".join(f"c{t}_{k}" for t, k in acc)} = 0;
            }
            for (int q = 0; q < count; q += ${W}) {
                int lane = q + ${W} > count && q0 + count == q_count ? q_skip : 0;
                const int lanes = q_count < ${W} ? q_count : ${W};
                for (; lane < lanes; lane++) {
% for k in range(NK):
                    const ${TW} u${k} = u[${k}];
% endfor
% if FETCH:
% for k in range(NK):
                    PREFETCH(u + ${24 * NK + k});
% endfor
                    PREFETCH(v + ${2 * MT * W} + lane * ${W});
% endif
                    u += ${NK};
% for t in range(MT):
                    {
                        const ${T} value = v[${t * W} + lane];
% for k in range(NK):
                        c${t}_${k} += u${k} * value;
% endfor
                    }
% endfor
                }
                v += ${MT * W};
            }
% for t, k in acc:
            to[${t * NK + k}] = c${t}_${k};
% endfor
        }
    }
% if CHUNKED:
    }
% endif
    for (int t = 0; t < count_tiles;) {
        const int tx0 = (tile0 + t) % tiles_x, row_of_tiles = first_row + (tile0 + t) / tiles_x;
        const int n = row_of_tiles / tiles_y, y0 = row_of_tiles % tiles_y * ${M}, x_first = tx0 * ${M};
        int run = tiles_x - tx0 < most ? tiles_x - tx0 : most;
        run = run < count_tiles - t ? run : count_tiles - t;
        const int rows = out_rows - y0 < ${M} ? out_rows - y0 : ${M};
        const int columns = out_columns - x_first < run * ${M} ? out_columns - x_first : run * ${M};
        const int whole = flat && columns == out_columns;
        const int pitch = whole ? out_columns : run * ${M};
        const int store_rows = whole ? 1 : rows, store_columns = whole ? rows * out_columns : columns;
        for (int k = 0; k < ${NK}; k++) {
            const int channels = m_count - m0 - k * ${W} < ${W} ? m_count - m0 - k * ${W} : ${W};
            if (channels <= 0) break;
            // from the last tile to the first: where rows follow each other without gaps, what a tile has beyond the
            // last column is written before the row after it
            for (int j = run - 1; j >= 0; j--) {
                const ${"__global" if PRODUCTS_GLOBAL else "__local"} ${TW} *p = products + (t + j) * ${NK} + k;
                __local ${TW} *to = pixels + j * ${M};
${gather}
% for i in range(M):
% for j in range(M):
                to[${i} * pitch + ${j}] = y${i}_${j};
% endfor
% endfor
            }
            for (int row = 0; row < store_rows; row++) {
                const int y = y0 + row, end = x_first + store_columns;
                for (int x0 = x_first; x0 < end; x0 += ${W}) {
                    transpose${W}((const __local ${T} *)(pixels + row * pitch + x0 - x_first), ${W}, turned, 1);
                    for (int i = 0; i < channels; i++) {
                        const int c = m0 + k * ${W} + i;
                        const __local ${T} *line = (const __local ${T} *)(turned + i) - x0;
                        int x = x0;
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
        t += run;
    }
}
