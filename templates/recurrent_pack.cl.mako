## Packs the recurrent weights of a layer into panels for recurrent.cl.mako: element k of vector v of panel p stands at
## p * panel_step + k * k_step + v * W. Vectors are numbered over all panels, unit block after unit block, gate by gate within:
## vector j * GV + g holds gate g of units j * W ... Units beyond H, and vectors beyond the last, are zeros.
##
## Forward, element (k, gate g of unit u) is weight[g * H + u][k]: the matrix is transposed, a cache line of each of W rows at a time.
## Backward it is weight[k][u]. One work-item per group and panel on CPUs, one per element on GPUs; traffic: the weights once each way.
__kernel __attribute__((reqd_work_group_size(${items}, 1, 1)))
void KERNEL(${parameters}) {
  const I direction = get_global_id(1);
% if D == 2:
  const __global ${E} *w = direction ? weight1 + weight1_at : weight0 + weight0_at;
  const I w_row = direction ? w1_row : w0_row, w_column = direction ? w1_column : w0_column;
% else:
  const __global ${E} *w = weight0 + weight0_at;
  const I w_row = w0_row, w_column = w0_column;
% endif
  packed += direction * packed_size;
% if items > 1:
  const I at = get_global_id(0), vector = at % vectors, k = at / vectors;
  if (k >= K) return;
  const I u = vector / ${GV}, gate = vector % ${GV};
  packed[vector / ${NV} * panel_step + k * k_step + vector % ${NV}] = ${"w[(gate * H + u) * w_row + k * w_column]" if stage == "forward" else "w[k * w_row + u * w_column]"};
% else:
  const I panel = get_global_id(0);
  for (I v = 0; v < ${NV}; ++v) {
    const I vector = panel * ${NV} + v, gate = vector % ${GV}, u = vector / ${GV} * ${W};
    __global ${E} *to = packed + panel * panel_step + v * ${W};
    const I there = u < H ? (H - u < ${W} ? H - u : ${W}) : 0;
% if stage == "forward":
    const I along = w_column, across = w_row;
    const __global ${E} *from = w + (gate * H + u) * w_row;
% else:
    const I along = w_row, across = w_column;
    const __global ${E} *from = w + u * w_column;
% endif
    if (there == ${W}) {
      if (across == 1) {
        for (I k = 0; k < K; ++k) vec_store${W}(vec_load${W}(from + k * along), to + k * k_step);
      } else {
        for (I k = 0; k < K; ++k) {
          const __global ${E} *p = from + k * along;
          vec_store${W}((${V})(${", ".join("p[%d * across]" % i for i in range(W))}), to + k * k_step);
        }
      }
    } else {
      for (I k = 0; k < K; ++k) {
#pragma unroll 1
        for (I i = 0; i < ${W}; ++i) to[k * k_step + i] = i < there ? from[k * along + i * across] : 0;
      }
    }
  }
% endif
}
