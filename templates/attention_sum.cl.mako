## Adds the parts of dq that work-groups of attention.cl.mako left in scratch, (part, batch, head, row, D), in their order.
##
## One work-item takes `chunk` rows. Under a causal mask a part whose first key lies behind a row wrote nothing there.
## Traffic: each part once, dq once.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void KERNEL(${parameters}) {
  const I begin = (I)get_global_id(0) * chunk, end = begin + chunk < rows ? begin + chunk : rows;
  for (I row = begin; row < end; ++row) {
    const I l = row % L, head = row / L % heads, batch = row / L / heads;
    const __global float *const from = parts + row * D;
    __global ${S} *const to = dq + dq_offset + batch * dq_b + head * dq_h + l * dq_l;
% if causal:
    const I reach = l / part_keys + 1, n = reach < count ? reach : count;
% else:
    const I n = count;
% endif
    I d = 0;
    for (; d + ${W} <= D; d += ${W}) {
      ${V} sum = vec_load${W}(from + d);
      for (I part = 1; part < n; ++part) sum += vec_load${W}(from + part * part_step + d);
      ${store("sum", "to + d", W)};
    }
    for (; d < D; ++d) {
      float sum = from[d];
      for (I part = 1; part < n; ++part) sum += from[part * part_step + d];
      ${store("sum", "to + d", 1)};
    }
  }
}
