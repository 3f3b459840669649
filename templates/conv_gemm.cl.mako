<%doc>
Convolution as an implicit matrix product with tiles in local memory: the form for GPUs, all three directions.

Algorithm. A work-group of 256 items computes a 64 x 64 tile of the product, 4 x 4 elements per item, in steps of 16 along the
reduction; the matrices are never built, their elements are fetched from the tensors while the tiles are filled.
  forward, input   rows: output channels m; columns: output pixels (n, y, x) of one phase; reduction: (q, tap row, tap column).
                   Tap (i, j) is (r0 + i*dr, u0 + j*du) of the weight and reads the input at (y*SY + a0 + i*da, x*SX + b0 + j*db); a
                   backward pass of stride S is S*S launches, one for each residue class of output pixels, with its own taps.
  weight           rows: output channels k; columns: (c, r, s); reduction: output pixels (n, y, x), split into `parts` whose results
                   go to scratch [part][k][c][tap] for conv_reduce.
Launch: global (256 * ceil(columns / 64), ceil(rows / 64), groups * parts), local (256, 1, 1). Local memory: two tiles of 16 x 65.
Source: implicit GEMM, Chetlur et al. 2014 (cuDNN).
</%doc>
__kernel __attribute__((reqd_work_group_size(256, 1, 1)))
void KERNEL(const __global ${AT} *restrict a, const __global ${BT} *restrict b${epilogue_parameters},
            const int groups, const int m_count, const int q_count, const ${INDEX} columns, const ${INDEX} reduction, const ${INDEX} share,
            const ${INDEX} a_offset, const ${INDEX} a_0, const ${INDEX} a_1, const ${INDEX} a_2, const ${INDEX} a_g,
            const ${INDEX} b_offset, const ${INDEX} b_n, const ${INDEX} b_c, const ${INDEX} b_h, const int b_rows, const int b_columns,
            const int rows, const int row_length, const int SY, const int SX,
            const int r0, const int dr, const int nr, const int a0, const int da,
            const int u0, const int du, const int nu, const int b0, const int db, const int S,
            const int out_step_y, const int out_step_x, const int phase_y, const int phase_x)
{
    __local ${T} left[16 * 65], right[16 * 65];
    const int id = get_local_id(0);
    const ${INDEX} column0 = get_group_id(0) * 64;
    const int m0 = get_group_id(1) * 64, g = get_group_id(2) % groups, part = get_group_id(2) / groups;
    const int tx = id % 16, ty = id / 16;
    const ${INDEX} first = part * share, last = first + share < reduction ? first + share : reduction;
% for i in range(4):
    ${T} ${", ".join(f"c{i}{j} = 0" for j in range(4))};
% endfor
% if not WEIGHT:
    // the pixel this item fetches
    const ${INDEX} pixel = column0 + id % 64;
    const int px = pixel % row_length, py = pixel / row_length % rows;
    const ${INDEX} image = b_offset + pixel / row_length / rows * b_n + g * q_count * b_c;
    const int y_first = py * SY + a0, x_first = px * SX + b0, taps = nr * nu;
% endif
    for (${INDEX} k0 = first; k0 < last; k0 += 16) {
        for (int e = 0; e < 4; e++) {
            const int kk = id % 16, mm = id / 16 + e * 16;
            const ${INDEX} k = k0 + kk;
            ${T} value = 0;
            if (m0 + mm < m_count && k < last) {
% if WEIGHT:
                const int x = k % row_length, y = k / row_length % rows;
                value = ${aload}1(a + a_offset + k / row_length / rows * a_0 + (g * m_count + m0 + mm) * a_1 + y * a_2 + x);
% else:
                const int q = k / taps, t = k % taps, i = t / nu, j = t % nu;
                value = ${aload}1(a + a_offset + g * a_g + (m0 + mm) * a_0 + q * a_1 + (r0 + i * dr) * S + u0 + j * du);
% endif
            }
            left[kk * 65 + mm] = value;
        }
        for (int e = 0; e < 4; e++) {
% if WEIGHT:
            const int kk = id % 16, nn = id / 16 + e * 16;
            const ${INDEX} k = k0 + kk, column = column0 + nn;
            ${T} value = 0;
            if (column < columns && k < last) {
                const int c = column / (nr * S), r = column / S % nr, s = column % S;
                const int y = k / row_length % rows * SY + a0 + r * da, x = k % row_length * SX + b0 + s * db;
                if (y >= 0 && y < b_rows && x >= 0 && x < b_columns)
                    value = ${bload}1(b + b_offset + k / row_length / rows * b_n + (g * q_count + c) * b_c + y * b_h + x);
            }
% else:
            const int kk = id / 64 + e * 4, nn = id % 64;
            const ${INDEX} k = k0 + kk;
            ${T} value = 0;
            if (pixel < columns && k < last) {
                const int q = k / taps, t = k % taps, y = y_first + t / nu * da, x = x_first + t % nu * db;
                if (y >= 0 && y < b_rows && x >= 0 && x < b_columns) value = ${bload}1(b + image + q * b_c + y * b_h + x);
            }
% endif
            right[kk * 65 + nn] = value;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int kk = 0; kk < 16; kk++) {
% for i in range(4):
            const ${T} l${i} = left[kk * 65 + ty * 4 + ${i}], r${i} = right[kk * 65 + tx + ${i * 16}];
% endfor
% for i in range(4):
% for j in range(4):
            c${i}${j} += l${i} * r${j};
% endfor
% endfor
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
% for j in range(4):
    {
        const ${INDEX} column = column0 + tx + ${j * 16};
        if (column < columns) {
% if WEIGHT:
            const int y = column / S % nr, x = column % S, c = column / (nr * S);
% else:
            const int x = column % row_length * out_step_x + phase_x, y = column / row_length % rows * out_step_y + phase_y;
            const int n = column / row_length / rows;
% endif
            for (int i = 0; i < 4; i++) {
                const int m = m0 + ty * 4 + i;
                if (m < m_count) {
                    const int ${"n" if WEIGHT else "c"} = g * m_count + m;
                    const ${T} value = i == 0 ? c0${j} : i == 1 ? c1${j} : i == 2 ? c2${j} : c3${j};
                    ${store[1]}
                }
            }
        }
    }
% endfor
}
