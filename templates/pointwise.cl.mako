<%doc>
Pointwise program over any strided operands.

Three forms. Each has a vector body (`vector`: C lines for W elements) and a scalar body (`scalar`) for what is left over.

flat     one dim. CPU class: a work-group is one work-item with a contiguous chunk. GPU class: grid-stride, W elements per item.
strided  `rank` dims; the last is walked in vectors, the others by counters that advance with the rows (CPU class: a group takes
         consecutive units; a unit is a block of a row) or are decoded by division (GPU class: a unit is W elements of a row).
tiled    as strided, where some operands are contiguous along another dim (q) than the vectorised one (p): W x W tiles of those are
         read along q into local memory, and taken from there along p. Each cache line is read once. CPU class only.

Memory traffic: each operand once.
</%doc>\
<%!
def lines(block, indent):
    return ("\n" + indent).join(block)
%>\
__kernel __attribute__((reqd_work_group_size(${local_size}, 1, 1)))
void KERNEL(${", ".join(parameters)}) {
% if form == "flat":
  ${lines(setup, "  ")}
% if gpu:
  const ${I} step = (${I})get_global_size(0) * ${W};
  for (${I} j = (${I})get_global_id(0) * ${W}; j < n; j += step) {
    if (j + ${W} <= n) {
      ${lines(vector, "      ")}
    } else {
      for (${I} k = j; k < n; ++k) {
        ${lines(scalar, "        ")}
      }
    }
  }
% else:
  const ${I} begin = (${I})get_group_id(0) * chunk;
  const ${I} end = n - begin < chunk ? n : begin + chunk;
  ${I} j = begin;
  for (; j + ${W} <= end; j += ${W}) {
    ${lines(vector, "    ")}
  }
% if W > 1:
  for (${I} k = j; k < end; ++k) {
    ${lines(scalar, "    ")}
  }
% endif
% endif
% elif form == "strided":
<% outer = rank - 1 %>\
% if gpu:
  for (${I} unit = (${I})get_global_id(0); unit < units; unit += (${I})get_global_size(0)) {
    ${I} row = unit / blocks;
    const ${I} j = (unit - row * blocks) * ${W};
    ${lines(decode, "    ")}
    ${lines(setup, "    ")}
    if (j + ${W} <= n${outer}) {
      ${lines(vector, "      ")}
    } else {
      for (${I} k = j; k < n${outer}; ++k) {
        ${lines(scalar, "        ")}
      }
    }
  }
% else:
  ${I} unit = (${I})get_group_id(0) * per;
  const ${I} units_end = units - unit < per ? units : unit + per;
  ${I} row = unit / blocks;
  ${I} block_number = unit - row * blocks;
  ${lines(decode, "  ")}
  for (; unit < units_end; ++unit) {
    const ${I} begin = block_number * block;
    const ${I} end = n${outer} - begin < block ? n${outer} : begin + block;
    ${lines(setup, "    ")}
    ${I} j = begin;
    for (; j + ${W} <= end; j += ${W}) {
      ${lines(vector, "      ")}
    }
% if W > 1:
    for (${I} k = j; k < end; ++k) {
      ${lines(scalar, "      ")}
    }
% endif
    if (++block_number == blocks) {
      block_number = 0;
      ${lines(advance, "      ")}
    }
  }
% endif
% else:
  ${lines(stages, "  ")}
  ${I} unit = (${I})get_group_id(0) * per;
  const ${I} units_end = units - unit < per ? units : unit + per;
  ${I} row = unit / (blocks * tiles);
  ${I} in_row = unit - row * (blocks * tiles);
  ${I} tile = in_row / blocks;
  ${I} block_number = in_row - tile * blocks;
  ${lines(decode, "  ")}
  for (; unit < units_end; ++unit) {
    const ${I} j = block_number * ${W};
    const ${I} t = tile * ${W};
    if (j + ${W} <= n${rank - 1} && t + ${W} <= n${rank - 2}) {
      for (int lane = 0; lane < ${W}; ++lane) {
        ${lines(fill, "        ")}
      }
      for (int c = 0; c < ${W}; ++c) {
        const ${I} q = t + c;
        ${lines(setup, "        ")}
        ${lines(vector, "        ")}
      }
    } else {
      const ${I} q_end = n${rank - 2} - t < ${W} ? n${rank - 2} : t + ${W};
      const ${I} k_end = n${rank - 1} - j < ${W} ? n${rank - 1} : j + ${W};
      for (${I} q = t; q < q_end; ++q) {
        ${lines(setup, "        ")}
        for (${I} k = j; k < k_end; ++k) {
          ${lines(scalar, "          ")}
        }
      }
    }
    if (++block_number == blocks) {
      block_number = 0;
      if (++tile == tiles) {
        tile = 0;
        ${lines(advance, "        ")}
      }
    }
  }
% endif
}
