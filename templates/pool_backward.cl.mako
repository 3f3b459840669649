## Gradient of pooling, gathered: every input pixel adds up what the windows that cover it owe it. No atomics, one writer each.
##
## Maximum: a window owes its gradient to the one position its forward pass recorded. Average: to all, divided by the window's divisor.
## A plane is a volume of depth 1. Where the other forms do not fit: GPU class, few large planes, 16-bit sums.
## Geometry: Split of walk.py over planes x in_d x in_h rows of in_w pixels. Traffic: gradients and positions once (cached), result once.
<%
AXES = (("z", "oz", "d", 0), ("y", "oy", "h", 1), ("x", "ox", "w", 2))
def covering(place, out, size, d):
    """Statements that declare the range of windows that cover `place`."""
    if adaptive:
        return (f"const int {out}_begin = (int)(({L}){place} * out_{size} / in_{size}), "
                f"{out}_end = (int)((({L})({place} + 1) * out_{size} + in_{size} - 1) / in_{size});")
    low, step = (kernel[d] - 1) * dilation[d], stride[d]
    return (f"const int {out}_low = (int){place} + pad_{size} - {low}, {out}_last = ((int){place} + pad_{size}) / {step} + 1; "
            f"const int {out}_begin = {out}_low > 0 ? ({out}_low + {step - 1}) / {step} : 0, "
            f"{out}_end = {out}_last < out_{size} ? {out}_last : out_{size};")
def extent(out, size, d):
    """How many places the window `out` counts along one dim."""
    if adaptive:
        return f"((int)((({L})({out} + 1) * in_{size} + out_{size} - 1) / out_{size}) - (int)(({L}){out} * in_{size} / out_{size}))"
    first = f"({out} * {stride[d]} - pad_{size})"
    bound = f"in_{size} + pad_{size}" if include_pad else f"in_{size}"
    begin = first if include_pad else f"({first} > 0 ? {first} : 0)"
    return f"(({first} + {kernel[d]} < {bound} ? {first} + {kernel[d]} : {bound}) - {begin})"
%>
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  ${span}
  for (${I} row = row_begin; row < row_end; row++) {
    const ${I} plane = row / in_h / in_d;
    const int z = (int)(row / in_h - plane * in_d), y = (int)(row % in_h);
    ${I} g_plane = g_offset, dx_plane = dx_offset;
% if maximum:
    ${I} at_plane = at_offset;
% endif
    ${locate_plane}
    ${covering(*AXES[0])}
    ${covering(*AXES[1])}
    for (${I} x = begin; x < end; x++) {
      ${covering(*AXES[2])}
      ${R} sum = 0;
      for (int oz = oz_begin; oz < oz_end; oz++)
      for (int oy = oy_begin; oy < oy_end; oy++)
        for (int ox = ox_begin; ox < ox_end; ox++) {
% if maximum:
          if (at[at_plane + (${I})oz * at_sd + (${I})oy * at_sh + (${I})ox * at_sw] == (${A})((z * in_h + y) * in_w + (int)x))
            sum += ${load_g};
% elif adaptive:
          sum += ${load_g} / (${R})(${" * ".join(extent(*axis[1:]) for axis in AXES)});
% else:
          sum += ${load_g} / (${R})(divisor ? divisor : ${" * ".join(extent(*axis[1:]) for axis in AXES)});
% endif
        }
      ${store_pixel};
    }
  }
}
