## Matrix product of 16-bit floats on GPUs with a matrix instruction: a work-group of WY x WX warps computes a tile of BM x BN
## of C, each warp TM x TN fragments of 16 x 8, from slices of BK of A and B that all items load together into local memory.
##
## Launch: (n tiles * items, m tiles, batch x split) items of (items, 1, 1), 32 to a warp. Slices keep K innermost, two
## elements to a uint, rows PITCH uints apart: BK / 2 and 4 of padding, so that the 8 x 4 lanes of a fragment's load meet 32
## banks. Loads run along whichever dimension of an operand is contiguous; outside the matrices slices hold zeros. Sums are
## float. Loops over fragments are unrolled: otherwise the sums go to memory.
## The instruction is `product`, a function of kernels/matrix_<family>.cl, which tells who holds what. Memory traffic: A once
## per n tile, B once per m tile.
## Source: NVIDIA, PTX ISA, mma.m16n8k16; CUDA C++ Best Practices Guide, shared memory in matrix multiplication.
<%
    BM, BN, items = WY * TM * 16, WX * TN * 8, WY * WX * 32
    PITCH = BK // 2 + 4
    room = f"exchange + warp * {exchange}" if exchange else "(__local uint *)0"
%>\
__attribute__((reqd_work_group_size(${items}, 1, 1)))
__kernel void KERNEL(${parameters}) {
  __local uint slice_a[${BM * PITCH}], slice_b[${BN * PITCH}];
% if exchange:
  __local uint exchange[${WY * WX * exchange}];
% endif
  I batch = get_group_id(2);
  const I piece = batch % splits;
  batch = batch / splits;
  const I k_begin = piece * k_piece, k_end = k_begin + k_piece < K ? k_begin + k_piece : K;
${setup}
  const int item = get_local_id(0), warp = item >> 5, lane = item & 31, quad = lane >> 2, pair = lane & 3;
  const int warp_m = warp / ${WX} * ${TM * 16}, warp_n = warp % ${WX} * ${TN * 8};
  const I m0 = (I)get_group_id(1) * ${BM}, n0 = (I)get_group_id(0) * ${BN};
  float c[${TM}][${TN}][4];
#pragma unroll
  for (int i = 0; i < ${TM}; ++i) {
#pragma unroll
    for (int j = 0; j < ${TN}; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) c[i][j][e] = 0.0f;
    }
  }
  for (I k0 = k_begin; k0 < k_end; k0 += ${BK}) {
    for (int at = item; at < ${BM * BK}; at += ${items}) {
% if a_along_k:
      const int i = at / ${BK}, k = at - i * ${BK};
% else:
      const int k = at / ${BM}, i = at - k * ${BM};
% endif
      const int inside = m0 + i < M && k0 + k < k_end;
      ((__local ushort *)slice_a)[i * ${2 * PITCH} + k] = inside ? A[inside ? (m0 + i) * a_m + (k0 + k) * a_k : 0] : (ushort)0;
    }
    for (int at = item; at < ${BN * BK}; at += ${items}) {
% if b_along_k:
      const int j = at / ${BK}, k = at - j * ${BK};
% else:
      const int k = at / ${BN}, j = at - k * ${BN};
% endif
      const int inside = n0 + j < N && k0 + k < k_end;
      ((__local ushort *)slice_b)[j * ${2 * PITCH} + k] = inside ? B[inside ? (k0 + k) * b_k + (n0 + j) * b_n : 0] : (ushort)0;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int s = 0; s < ${BK // 2}; s += 8) {
      uint a[${TM}][4], b[${TN}][2];
#pragma unroll
      for (int i = 0; i < ${TM}; ++i) {
        const int near = (warp_m + i * 16 + quad) * ${PITCH} + s + pair, far = near + ${8 * PITCH};
        a[i][0] = slice_a[near];
        a[i][1] = slice_a[far];
        a[i][2] = slice_a[near + 4];
        a[i][3] = slice_a[far + 4];
      }
#pragma unroll
      for (int j = 0; j < ${TN}; ++j) {
        const int near = (warp_n + j * 8 + quad) * ${PITCH} + s + pair;
        b[j][0] = slice_b[near];
        b[j][1] = slice_b[near + 4];
      }
#pragma unroll
      for (int i = 0; i < ${TM}; ++i) {
#pragma unroll
        for (int j = 0; j < ${TN}; ++j) ${product}(c[i][j], a[i], b[j], ${room}, lane);
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
#pragma unroll
  for (int i = 0; i < ${TM}; ++i) {
#pragma unroll
    for (int j = 0; j < ${TN}; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const I row = m0 + warp_m + i * 16 + quad + (e >> 1) * 8;
        const I column = n0 + warp_n + j * 8 + 2 * pair + (e & 1);
        if (row < M && column < N) {
          const float sum = c[i][j][e];
${finish(1)}
        }
      }
    }
  }
}
