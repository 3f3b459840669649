## One number of many tensors, and many tensors times one number: the norm of all gradients, and their clipping.
##
##   parts    a group takes one chunk of one tensor and stores the sum of its squares, or its largest magnitude
##   finish   one group adds the parts up (or takes the largest), always in the same order
##   scale    every element of every tensor is multiplied by factor[0], in place
##
## Tensor b owns the groups end_{b-1} .. end_b - 1, as in multi.cl.mako. CPU class: a group is one work-item. GPU class: its items stride
## through the chunk and meet in local memory. Memory traffic: every tensor once (scale: once each way).
<%
    V = E if W == 1 else "%s%d" % (E, W)

    def take(total, value):
        if kind == "largest":  # a NaN stays
            return "%s = (%s > %s || %s != %s) ? %s : %s;" % (total, value, total, value, value, value, total)
        return "%s += %s;" % (total, value)

    def measure(x, w):
        if kind == "largest":
            return "fabs(%s)" % x
        return "%s * %s" % (x, x)
%>\
__kernel __attribute__((reqd_work_group_size(${items}, 1, 1)))
void KERNEL(${parameters}) {
% if items > 1:
  const int item = get_local_id(0);
  __local ${E} shared[${items}];
% endif
% if stage == "finish":
  ${E} total = 0;
  for (int i = ${"item" if items > 1 else "0"}; i < count; i += ${items}) {
    const ${E} v = parts[i];
    ${take("total", "v")}
  }
% else:
  const int group = get_group_id(0);
  __global ${E} *x = x_0 + x_0_at;
  ${I} n = n_0;
  int first = 0;
% for slot in range(slots - 1, 0, -1):
  ${"" if slot == slots - 1 else "else "}if (group >= end_${slot - 1}) {
    x = x_${slot} + x_${slot}_at;
    n = n_${slot};
    first = end_${slot - 1};
  }
% endfor
  const ${I} begin = (${I})(group - first) * chunk, end = n - begin < chunk ? n : begin + chunk;
% if stage == "scale":
  const ${E} factor = factors[factors_at];
  ${I} j = begin${" + item" if items > 1 else ""};
% if W > 1:
  for (; j + ${W} <= end; j += ${W}) vec_store${W}(vec_load${W}(x + j) * factor, x + j);
% endif
  for (; j < end; j += ${items}) x[j] *= factor;
% else:
  ${E} total = 0;
  ${I} j = begin${" + item" if items > 1 else ""};
% if W > 1:
  ${V} lanes = (${V})(0);
  for (; j + ${W} <= end; j += ${W}) {
    const ${V} v = vec_load${W}(x + j), size = ${measure("v", W)};
    ${take("lanes", "size")}
  }
% for i in range(W):
  { const ${E} size = lanes.s${"0123456789abcdef"[i]}; ${take("total", "size")} }
% endfor
% endif
  for (; j < end; j += ${items}) {
    const ${E} v = x[j], size = ${measure("v", 1)};
    ${take("total", "size")}
  }
% endif
% endif
% if stage != "scale":
% if items > 1:
  shared[item] = total;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (item) return;
  total = 0;
  for (int i = 0; i < ${items}; ++i) {
    const ${E} v = shared[i];
    ${take("total", "v")}
  }
% endif
% if stage == "finish":
  out[0] = total;
% else:
  parts[before + group] = total;
% endif
% endif
}
