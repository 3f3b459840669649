## Matrix product on GPUs: a work-group of TX x TY items computes a tile of BM x BN of C, BM = TY * TM and BN = TX * TN, from slices
## of BK of A and B that its items load together into local memory; each item keeps TM x TN sums in registers.
##
## Launch: (n tiles * TX, m tiles * TY, batch x split) items of (TX, TY, 1). Tiles are taken in strips of `strip` rows of tiles,
## column by column, so that groups that run together share what they read. Loads run along whichever dimension of an operand is
## contiguous, VA or VB elements at a time (1, or 2 or 4 where every row starts at a multiple of them). An item owns TM rows side
## by side and TN columns in runs of LN that lie TX * LN apart: it reads a slice in vectors of LM and LN, and the items of a row
## read B's slice without bank conflicts. Outside the matrices slices hold zeros. Memory traffic: A once per n tile, B once per m
## tile.
## Source: NVIDIA, CUDA C++ Best Practices Guide, shared memory in matrix multiplication; tile sizes after PEERS.md's table.
<%
    BM, BN, items = TY * TM, TX * TN, TX * TY
    LM, LN = (4 if t % 4 == 0 else 1 for t in (TM, TN))
    PM, PN = (b + (4 if l == 4 else 1) for b, l in ((BM, LM), (BN, LN)))
    digits = "0123456789abcdef"
%>\
<%def name="slice(name, P, at0, rows, pitch, size, step_row, step_k, along_k, V, read, read_aligned)">\
    for (int at = item; at < ${rows * BK // V}; at += ${items}) {
% if along_k:
      const int i = at / ${BK // V}, k = (at - i * ${BK // V}) * ${V};
% else:
      const int k = at / ${rows // V}, i = (at - k * ${rows // V}) * ${V};
% endif
% if V == 1:
      const int inside = ${at0} + i < ${size} && k0 + k < k_end;
      ${name}[k * ${pitch} + i] = inside ? ${read(f"{P} + (inside ? ({at0} + i) * {step_row} + (k0 + k) * {step_k} : 0)", 1)} : (${E})0;
% else:
<%
    i_most, k_most = (0, V - 1) if along_k else (V - 1, 0)
%>\
      ${E}${V} values = 0;
      if (${at0} + i + ${i_most} < ${size} && k0 + k + ${k_most} < k_end) {
        values = ${read_aligned(f"{P} + ({at0} + i) * {step_row} + (k0 + k) * {step_k}", V)};
      } else {
% for e in range(V):
<%
    di, dk = (0, e) if along_k else (e, 0)
%>\
        if (${at0} + i + ${di} < ${size} && k0 + k + ${dk} < k_end) values.s${digits[e]} = ${read(f"{P} + ({at0} + i + {di}) * {step_row} + (k0 + k + {dk}) * {step_k}", 1)};
% endfor
      }
% for e in range(V):
      ${name}[${f"(k + {e}) * {pitch} + i" if along_k else f"k * {pitch} + i + {e}"}] = values.s${digits[e]};
% endfor
% endif
    }
</%def>\
__attribute__((reqd_work_group_size(${TX}, ${TY}, 1)))
__kernel void KERNEL(${parameters}) {
  __local ${E} slice_a[${BK} * ${PM}] __attribute__((aligned(32))), slice_b[${BK} * ${PN}] __attribute__((aligned(32)));
  I batch = get_group_id(2);
  const I piece = batch % splits;
  batch = batch / splits;
  const I k_begin = piece * k_piece, k_end = k_begin + k_piece < K ? k_begin + k_piece : K;
${setup}
  const int x = get_local_id(0), y = get_local_id(1), item = y * ${TX} + x;
  const I across = get_num_groups(0), down = get_num_groups(1), number = (I)get_group_id(1) * across + get_group_id(0);
  const I strip_start = number / (strip * across) * strip, in_strip = number - strip_start * across;
  const I high = down - strip_start < strip ? down - strip_start : strip, n_tile = in_strip / high;
  const I m0 = (strip_start + in_strip - n_tile * high) * ${BM}, n0 = n_tile * ${BN};
  ${E} c[${TM}][${TN}];
#pragma unroll
  for (int i = 0; i < ${TM}; ++i) {
#pragma unroll
    for (int j = 0; j < ${TN}; ++j) c[i][j] = 0;
  }
  for (I k0 = k_begin; k0 < k_end; k0 += ${BK}) {
${slice("slice_a", "A", "m0", BM, PM, "M", "a_m", "a_k", a_along_k, VA, load, load_aligned)}\
${slice("slice_b", "B", "n0", BN, PN, "N", "b_n", "b_k", b_along_k, VB, load_b, load_b_aligned)}\
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k = 0; k < ${BK}; ++k) {
      ${E} a[${TM}], b[${TN}];
% for i in range(0, TM, LM):
% if LM == 4:
      const ${E}4 a_run${i} = *(const __local ${E}4 *)(slice_a + k * ${PM} + y * ${TM} + ${i});
      ${" ".join(f"a[{i + e}] = a_run{i}.s{e};" for e in range(4))}
% else:
      a[${i}] = slice_a[k * ${PM} + y * ${TM} + ${i}];
% endif
% endfor
% for j in range(0, TN, LN):
% if LN == 4:
      const ${E}4 b_run${j} = *(const __local ${E}4 *)(slice_b + k * ${PN} + x * 4 + ${j * TX});
      ${" ".join(f"b[{j + e}] = b_run{j}.s{e};" for e in range(4))}
% else:
      b[${j}] = slice_b[k * ${PN} + x + ${j * TX}];
% endif
% endfor
#pragma unroll
      for (int i = 0; i < ${TM}; ++i) {
#pragma unroll
        for (int j = 0; j < ${TN}; ++j) c[i][j] = a[i] * b[j] + c[i][j];
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
#pragma unroll
  for (int i = 0; i < ${TM}; ++i) {
    const I row = m0 + y * ${TM} + i;
#pragma unroll
    for (int j = 0; j < ${TN}; ++j) {
      const I column = n0 + ${f"x * 4 + j / 4 * {4 * TX} + j % 4" if LN == 4 else f"x + j * {TX}"};
      if (row < M && column < N) {
        const ${E} sum = c[i][j];
${finish(1)}
      }
    }
  }
}
