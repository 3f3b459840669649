<%doc>
Rows with reductions: pure reductions, softmax, norms; any number of reductions in one or more passes over each row.

Passes: pass p computes the reductions that need p - 1 levels of others, and stores elements that need p - 1 levels. Elements are
loaded again in each pass (a row is still in cache), or kept in local memory (`stages`) where recomputing them is dear.

Vector axis. `horizontal`: lanes run along a reduced dim, U vectors with accumulators of their own; lanes are combined at the end of
a pass. Otherwise vertical: lanes are rows (U vectors of rows side by side), each lane reduces serially.

What is left over at the end of a row: one more vector that ends with the row (`overlap`), sums leaving out the lanes that were there
before; element by element where an input is written in place.

Float sums: plain sums over blocks of bounded length, compensated (Kahan) sums of blocks; rows of one block (`short`) are summed plainly.

CPU class: a work-group is one work-item and takes `per` units. A unit is a row, or U * W rows side by side, or (splits > 1) a part
of a row whose raw sums go to scratch memory for a second launch. GPU class: horizontal, a work-group per row with a tree in
local memory; vertical, a work-item per row.

Memory traffic: each operand once from memory, and once per pass from cache.
</%doc>\
<%!
def lines(block, indent):
    return ("\n" + indent).join(block)
%>\
<%def name="unit_body(version)">
<% W, U = version.width, version.copies %>\
      ${lines(version.begin, "      ")}
% for p in version.passes:
      ${lines(p.declare, "      ")}
      {
        ${lines(p.before, "        ")}
% for d in outer:
        for (${I} r${d} = ${"part_begin" if d == split_dim else "0"}; r${d} < ${"part_end" if d == split_dim else f"m{d}"}; ++r${d})
% endfor
        {
          ${lines(p.offsets, "          ")}
% if horizontal and gpu:
          ${lines(p.reset, "          ")}
          for (${I} j = part_begin_inner + (${I})get_local_id(0) * ${W}; j < part_end_inner; j += ${local_size * W}) {
            if (j + ${W} <= part_end_inner) {
              ${lines(p.bodies[0], "              ")}
            } else {
              for (${I} k = j; k < part_end_inner; ++k) {
                ${lines(p.tail, "                ")}
              }
            }
          }
          ${lines(p.flush, "          ")}
% else:
% if short:
          {
            const ${I} block = 0;
            const ${I} block_end = part_end_inner;
% else:
          for (${I} block = part_begin_inner; block < part_end_inner; block += ${block_length}) {
            const ${I} block_end = part_end_inner - block < ${block_length} ? part_end_inner : block + ${block_length};
% endif
            ${lines(p.reset, "            ")}
% if horizontal:
            ${I} j = block;
            for (; j + ${len(p.bodies) * W} <= block_end; j += ${len(p.bodies) * W}) {
% for body in p.bodies:
              {
                ${lines(body, "                ")}
              }
% endfor
            }
% if len(p.bodies) > 1:
            for (; j + ${W} <= block_end; j += ${W}) {
              ${lines(p.bodies[0], "              ")}
            }
% endif
% if W > 1 and overlap:
            if (j < block_end) {
              const ${I} k = block_end - ${W};
              ${lines(p.tail, "              ")}
            }
% elif W > 1:
            for (${I} k = j; k < block_end; ++k) {
              ${lines(p.tail, "              ")}
            }
% endif
% else:
            for (${I} r${inner} = block; r${inner} < block_end; ++r${inner}) {
              ${lines(p.steps, "              ")}
% for body in p.bodies:
              {
                ${lines(body, "                ")}
              }
% endfor
            }
% endif
            ${lines(p.flush, "            ")}
          }
% endif
        }
        ${lines(p.finish, "        ")}
      }
      ${lines(p.after, "      ")}
% endfor
      ${lines(version.end, "      ")}
</%def>\
__kernel __attribute__((reqd_work_group_size(${local_size}, 1, 1)))
void KERNEL(${", ".join(parameters)}) {
  ${lines(local_arrays, "  ")}
% if gpu and horizontal:
  for (${I} unit = (${I})get_group_id(0); unit < units; unit += (${I})get_num_groups(0)) {
% elif gpu:
  for (${I} unit = (${I})get_global_id(0); unit < units; unit += (${I})get_global_size(0)) {
% else:
  ${I} unit = (${I})get_group_id(0) * per;
  const ${I} units_end = units - unit < per ? units : unit + per;
  for (; unit < units_end; ++unit) {
% endif
    ${I} row = unit;
% if split_dim is not None:
    const ${I} part = row % splits;
    row /= splits;
    const ${I} part_begin = part * part_length;
    const ${I} part_end = m${split_dim} - part_begin < part_length ? m${split_dim} : part_begin + part_length;
% endif
% if split_dim == inner:
    const ${I} part_begin_inner = part_begin;
    const ${I} part_end_inner = part_end;
% else:
    const ${I} part_begin_inner = 0;
    const ${I} part_end_inner = m${inner};
% endif
    ${lines(decode, "    ")}
% if horizontal:
    {
${unit_body(versions[0])}\
    }
% elif len(versions) == 1:
    ${I} lane = row % lane_blocks * ${versions[0].copies * versions[0].width};
    row /= lane_blocks;
    if (lane + ${versions[0].copies * versions[0].width} > k${lane_dim}) lane = k${lane_dim} - ${versions[0].copies * versions[0].width};
    ${lines(decode_rows, "    ")}
    {
${unit_body(versions[0])}\
    }
% else:
    ${I} lane = row % lane_blocks * ${versions[0].width};
    row /= lane_blocks;
    ${lines(decode_rows, "    ")}
    if (lane + ${versions[0].width} <= k${lane_dim}) {
${unit_body(versions[0])}\
    } else {
      for (; lane < k${lane_dim}; ++lane) {
${unit_body(versions[1])}\
      }
    }
% endif
  }
}
