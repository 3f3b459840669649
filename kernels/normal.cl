// The normal distribution, for float and double registers of any width; needs real.cl.
//
// s_erfcx(x)      exp(x^2) erfc(x)
// s_ndtr(x)       area under the normal curve up to x, right relatively in the lower tail too
// s_log_ndtr(x)   its logarithm
// s_ndtri(p)      inverse of ndtr; -inf at 0, inf at 1, NaN outside

// (1 + 2 x) exp(x^2) erfc(x), u = (x - 4) / (x + 4), x >= 0: 25 terms, error 1.6e-17
__constant REAL ERFCX[] = {
    1.1774832005374487, -0.007260796620301901, -0.081265123236185, 0.06009212804122225, -0.02875393558027666,
    0.01059566336347286, -0.003136927294554264, 0.0007456494372536184, -0.0001369696503010054, 1.7183861600300937e-05,
    -7.158364623450346e-07, -2.4261399442449534e-07, 5.5765709395703566e-08, -2.1057869513809494e-09,
    -1.1717889351884957e-09, 1.9098355172456688e-10, 1.408871764208813e-11, -6.901108320480815e-12,
    9.167958364111294e-14, 2.1454508286554553e-13, -1.4716575027010623e-14, -6.668675118770408e-15,
    7.504598509880083e-16, 2.22009300666632e-16, -3.1704898956330886e-17,
};

// ndtri(1/2 + y) / y, u = y^2 / 0.08 - 1, |y| <= 0.4: 26 terms, error 6.7e-17
__constant REAL NDTRI_MIDDLE[] = {
    2.808303930992849, 0.34073359030995626, 0.04547601513627183, 0.00759914770624584, 0.0014131804234639737,
    0.0002797264040748304, 5.767675634442744e-05, 1.2239372419747194e-05, 2.6532949133515887e-06,
    5.847340921308528e-07, 1.3055934501992069e-07, 2.9462819420951114e-08, 6.707617753609062e-09,
    1.5384618598464293e-09, 3.551061586458655e-10, 8.241521971384679e-11, 1.9218998775482227e-11,
    4.5006903497001875e-12, 1.057902620865591e-12, 2.494920953637862e-13, 5.901538587266492e-14,
    1.3997331762429355e-14, 3.3280390042371255e-15, 7.930501585234955e-16, 1.89365073629954e-16,
    4.530164316142183e-17,
};

#define NDTRI_CENTRE 9.113116109070361 // a
#define NDTRI_STRETCH 1.6160240559746235 // 1 / edge
// r + ndtri(p), r = sqrt(-2 log p), u = (r - a) / (r + a) / edge, r in [2.1459, 38.7]: 33 terms, error 7.5e-17
__constant REAL NDTRI_TAIL[] = {
    0.4140496726275411, -0.3518077787222804, 0.07174791199089046, -0.019625420301520657, 0.005122789336396771,
    -0.0014736591578207489, 0.00041237741906228163, -0.00012292925593041415, 3.598089969538503e-05,
    -1.105938933649692e-05, 3.3482452463661656e-06, -1.0535573705608964e-06, 3.2670595263614644e-07,
    -1.0448897233786209e-07, 3.294604277520739e-08, -1.0657777039888264e-08, 3.4014366204401466e-09,
    -1.1097315386066654e-09, 3.574942192544113e-10, -1.1741483919725225e-10, 3.810775273553848e-11,
    -1.258361550477274e-11, 4.109033141816583e-12, -1.362864842210986e-12, 4.472834825831701e-13,
    -1.4890199347839632e-13, 4.907756427596166e-14, -1.6389305072109143e-14, 5.421591584419732e-15,
    -1.815395907105881e-15, 6.024308410219574e-16, -2.0219199089176544e-16, 6.728152438262283e-17,
};

// exp(sign x^2 / divisor), divisor a power of 2, with the rounding error of x^2 carried along
SCALAR REAL exp_square(REAL x, REAL factor) {
  REAL square = x * x;
  if (isinf(square)) return factor > (REAL)0 ? (REAL)INFINITY : (REAL)0;
  return exp(square * factor) * ((REAL)1 + fma(x, x, -square) * factor);
}
SCALAR REAL s_erfcx(REAL x) {
  REAL size = fabs(x);
  REAL found = isinf(x) ? (REAL)0
                        : CHEBYSHEV(ERFCX, (size - (REAL)4) / (size + (REAL)4)) / ((REAL)1 + size + size);
  return x < (REAL)0 ? (REAL)2 * exp_square(x, (REAL)1) - found : found;
}
#define ROOT_HALF_NORMAL ((REAL)0.7071067811865476)
SCALAR REAL s_ndtr(REAL x) {
  if (x != x) return x;
  REAL tail = (REAL)0.5 * s_erfcx(fabs(x) * ROOT_HALF_NORMAL) * exp_square(x, (REAL)-0.5);
  if (fabs(x) < (REAL)1) return (REAL)0.5 * ((REAL)1 + erf(x * ROOT_HALF_NORMAL));
  return x > (REAL)0 ? (REAL)1 - tail : tail;
}
SCALAR REAL s_log_ndtr(REAL x) {
  if (x < (REAL)-1) return log((REAL)0.5 * s_erfcx(-x * ROOT_HALF_NORMAL)) - (REAL)0.5 * x * x;
  return log1p(-s_ndtr(-x));
}
SCALAR REAL s_ndtri(REAL p) {
  if (!(p > (REAL)0 && p < (REAL)1)) {
    return p == (REAL)0 ? -(REAL)INFINITY : (p == (REAL)1 ? (REAL)INFINITY : (REAL)NAN);
  }
  REAL y = p - (REAL)0.5;
  if (fabs(y) <= (REAL)0.4) return y * CHEBYSHEV(NDTRI_MIDDLE, y * y / (REAL)0.08 - (REAL)1);
  REAL r = sqrt((REAL)-2 * log(y < (REAL)0 ? p : (REAL)1 - p));
  REAL u = (r - (REAL)NDTRI_CENTRE) / (r + (REAL)NDTRI_CENTRE) * (REAL)NDTRI_STRETCH;
  REAL x = CHEBYSHEV(NDTRI_TAIL, u) - r;
  return y < (REAL)0 ? x : -x;
}

WIDEN1(s_erfcx)
WIDEN1(s_ndtr)
WIDEN1(s_log_ndtr)
WIDEN1(s_ndtri)
