## Gradient of max pooling, scattered: a work-item owns whole planes (or volumes), clears each and adds every window's gradient at the
## position that the forward pass recorded. Serial within a plane, so deterministic without atomics.
##
## Where windows overlap the sum is taken in the storage type; the caller uses the gathering form for the 16-bit ones.
## Geometry: Split of walk.py over planes, inner = 1. Traffic: gradients and positions once, result about twice (in cache).
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  ${span}
  for (${I} row = row_begin; row < row_end; row++) {
    ${I} g_plane = g_offset, at_plane = at_offset;
    ${locate_plane}
    __global ${storage} *plane = dx + dx_offset + row * area;
    int i = 0;
% if lanes > 1:
    for (; i + ${lanes} <= area; i += ${lanes}) vec_store${lanes}((${storage}${lanes})(0), plane + i);
% endif
    for (; i < area; i++) plane[i] = 0;
    for (int oz = 0; oz < out_d; oz++)
      for (int oy = 0; oy < out_h; oy++) {
        __global const ${storage} *from = g + g_plane + (${I})oz * g_sd + (${I})oy * g_sh;
        __global const ${A} *to = at + at_plane + (${I})oz * at_sd + (${I})oy * at_sh;
        for (int ox = 0; ox < out_w; ox++) {
          const ${A} k = to[ox * at_sw];
% if overlap:
          if (k >= 0 && k < area) plane[k] += from[ox * g_sw];
% else:
          if (k >= 0 && k < area) plane[k] = from[ox * g_sw];
% endif
        }
      }
  }
}
