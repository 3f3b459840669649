## Compaction: the elements of a tensor, in C order, at which a condition holds. Stages, each a kernel of its own:
##   count   chunk c of the elements: counts[c] = how many hold
##   total   one work-item: counts become the number of hits before each chunk; their sum goes to `total` if that is wanted
##   write   chunk c again: nonzero writes coordinates, select copies elements, scatter writes source elements in order
## Geometry: one work-item per chunk. Traffic: the condition twice, hits once.
## Source: Blelloch 1990, prefix sums and their applications (stream compaction).
% if stage == "total":
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void KERNEL(${parameters}) {
  long sum = 0;
  for (int c = 0; c < chunks; c++) {
    const long n = counts[c];
    counts[c] = sum;
    sum += n;
  }
  counts[chunks] = sum;
% if wanted:
  total[total_offset] = sum;
% endif
}
% else:
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  const ${I} c = (${I})get_global_id(0);
  ${I} e = c * chunk;
  const ${I} end = e + chunk < elements ? e + chunk : elements;
  if (c >= chunks) return;
% if stage == "count":
  long hits = 0;
% else:
  long hit = counts[c];
  const long hit_end = counts[c + 1] < limit ? counts[c + 1] : limit;
% endif
  while (e < end) {
    const ${I} row = e / inner;
    ${I} j = e - row * inner;
    const ${I} stop = inner - j < end - e ? inner : j + (end - e);
    ${I} m = mask_offset;
% if other:
    ${I} o = other_offset;
% endif
    ${locate_row}
    for (; j < stop; j++, e++) {
      const ${T} condition = mask[m + j * mask_inner];
% if stage == "count":
      hits += (${holds}) ? 1 : 0;
% else:
% if stage == "select" or stage == "nonzero" and ndim == 1:
      ## write first, then step on a hit: no branch to mispredict, and hit_end keeps the last write inside this chunk's part
      if (hit < hit_end) {
% if stage == "select":
        out[out_offset + (${I})hit * out_s0] = other[o + j * other_inner];
% else:
        out[out_offset + (${I})hit * out_s0] = e;
% endif
        hit += (${holds}) ? 1 : 0;
      }
% else:
      if ((${holds}) && hit < hit_end) {
% if stage == "nonzero":
        ${I} rest = e;
% for d in range(ndim - 1, 0, -1):
        out[out_offset + (${I})hit * out_s0 + ${d} * out_s1] = rest % size${d};
        rest /= size${d};
% endfor
        out[out_offset + (${I})hit * out_s0] = rest;
% else:
        ${I} p = source_offset;
        ${locate_source}
        other[o + j * other_inner] = source[p];
% endif
        hit++;
      }
% endif
% endif
    }
  }
% if stage == "count":
  counts[c] = hits;
% endif
}
% endif
