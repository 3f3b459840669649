## Matrix product on GPUs: a work-group of TX x TY items computes a tile of BM x BN of C, BM = TY * TM and BN = TX * TN, from slices
## of BK of A and B that its items load together into local memory; each item keeps TM x TN sums in registers.
##
## Launch: (n tiles * TX, m tiles * TY, batch x split) items of (TX, TY, 1). Loads run along whichever dimension of an operand is
## contiguous; items of a row own columns TX apart, so stores and reads of B's slice are coalesced and free of bank
## conflicts. Outside the matrices slices hold zeros. Memory traffic: A once per n tile, B once per m tile.
## Source: NVIDIA, CUDA C++ Best Practices Guide, shared memory in matrix multiplication; tile sizes after PEERS.md's table.
<%
    BM, BN, items = TY * TM, TX * TN, TX * TY
%>\
__attribute__((reqd_work_group_size(${TX}, ${TY}, 1)))
__kernel void KERNEL(${parameters}) {
  __local ${E} slice_a[${BK} * ${BM + 1}], slice_b[${BK} * ${BN + 1}];
  I batch = get_group_id(2);
  const I piece = batch % splits;
  batch = batch / splits;
  const I k_begin = piece * k_piece, k_end = k_begin + k_piece < K ? k_begin + k_piece : K;
${setup}
  const int x = get_local_id(0), y = get_local_id(1), item = y * ${TX} + x;
  const I m0 = (I)get_group_id(1) * ${BM}, n0 = (I)get_group_id(0) * ${BN};
  ${E} c[${TM}][${TN}];
#pragma unroll
  for (int i = 0; i < ${TM}; ++i) {
#pragma unroll
    for (int j = 0; j < ${TN}; ++j) c[i][j] = 0;
  }
  for (I k0 = k_begin; k0 < k_end; k0 += ${BK}) {
    for (int at = item; at < ${BM * BK}; at += ${items}) {
% if a_along_k:
      const int i = at / ${BK}, k = at - i * ${BK};
% else:
      const int k = at / ${BM}, i = at - k * ${BM};
% endif
      const int inside = m0 + i < M && k0 + k < k_end;
      slice_a[k * ${BM + 1} + i] = inside ? ${load("A + (inside ? (m0 + i) * a_m + (k0 + k) * a_k : 0)", 1)} : (${E})0;
    }
    for (int at = item; at < ${BN * BK}; at += ${items}) {
% if b_along_k:
      const int j = at / ${BK}, k = at - j * ${BK};
% else:
      const int k = at / ${BN}, j = at - k * ${BN};
% endif
      const int inside = n0 + j < N && k0 + k < k_end;
      slice_b[k * ${BN + 1} + j] = inside ? ${load_b("B + (inside ? (k0 + k) * b_k + (n0 + j) * b_n : 0)", 1)} : (${E})0;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k = 0; k < ${BK}; ++k) {
      ${E} a[${TM}], b[${TN}];
#pragma unroll
      for (int i = 0; i < ${TM}; ++i) a[i] = slice_a[k * ${BM + 1} + y * ${TM} + i];
#pragma unroll
      for (int j = 0; j < ${TN}; ++j) b[j] = slice_b[k * ${BN + 1} + x + j * ${TX}];
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
      const I column = n0 + x + j * ${TX};
      if (row < M && column < N) {
        const ${E} sum = c[i][j];
${finish(1)}
      }
    }
  }
}
