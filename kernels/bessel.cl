// Bessel functions of order 0 and 1, for float and double registers of any width; needs real.cl.
//
// s_j0, s_j1, s_y0, s_y1   J_n(x), Y_n(x); Y_n(0) is -inf, Y_n of negative x NaN, all of infinite x NaN
// s_spherical_j0           sin(x) / x
//
// Up to 8 series in x^2, beyond them modulus and phase: sine and cosine of x - pi/4 come from those of x, which are right
// for any x.

// J0(x), u = x^2 / 32 - 1, x in [0, 8]: 16 terms, error 4.0e-17
__constant REAL J0_NEAR[] = {
    0.15772797147489012, -0.008723442352852221, 0.2651786132033368, -0.37009499387264977, 0.15806710233209725,
    -0.034893769411408884, 0.004819180069467605, -0.00046062616620627504, 3.246032882100508e-05,
    -1.7619469077621507e-06, 7.608163592418782e-08, -2.679253530557673e-09, 7.848696314479465e-11,
    -1.9438346867370164e-12, 4.125320595634374e-14, -7.588508125447546e-16,
};

// J1(x) / x, u = x^2 / 32 - 1, x in [0, 8]: 16 terms, error 2.4e-17
__constant REAL J1_NEAR[] = {
    0.08104484632565812, -0.1489751450676521, 0.1609992623572097, -0.08268049176681791, 0.022213639654966037,
    -0.003646940600769276, 0.0004050337728354822, -3.255554866857259e-05, 1.9858774049915165e-06,
    -9.521984756750436e-08, 3.687133759097148e-09, -1.178026622695885e-10, 3.160154580348003e-12,
    -7.221755239651773e-14, 1.4232144003513942e-15, -2.4441972916190464e-17,
};

// Y0(x) - 2 / pi log(x / 2) J0(x), u = x^2 / 32 - 1, x in [0, 8]: 17 terms, error 6.5e-17
__constant REAL Y0_NEAR[] = {
    0.03645469809116044, -0.2783237094075825, 0.2960499990207148, 0.09825508408187864, -0.10755155280627783,
    0.031799074084414514, -0.005161397105810715, 0.0005498525320039012, -4.1996983149420134e-05,
    2.4290361107923793e-06, -1.1049969793472957e-07, 4.06651736597911e-09, -1.2374148898289854e-10,
    3.1685725528945945e-12, -6.926956032431002e-14, 1.3086308625876684e-15, -2.1586201986914482e-17,
};

// (Y1(x) - 2 / pi (log(x / 2) J1(x) - 1 / x)) / x, u = x^2 / 32 - 1, x in [0, 8]: 16 terms, error 3.1e-17
__constant REAL Y1_NEAR[] = {
    0.038300769852423776, -0.08182561412732826, -0.0248677076121964, 0.047967452752746984, -0.01852588451089802,
    0.003680607687823511, -0.0004627254060293369, 4.06940026958087e-05, -2.6617695125295625e-06,
    1.350602691325434e-07, -5.483524110336276e-09, 1.8245086841229007e-10, -5.070666636591129e-12,
    1.1956162517587948e-13, -2.423162442712473e-15, 4.268126513072962e-17,
};

// sqrt(pi x / 2) (J0 cos(a) + Y0 sin(a)), a = x - 1 pi / 4, u = 128 / x^2 - 1, x >= 8: 13 terms, error 4.4e-17
__constant REAL J0_COS[] = {
    0.9994603493475187, -0.0005365220468132117, 3.0751847875194745e-06, -5.1705945376060975e-08,
    1.6306464635151382e-09, -7.86409137723707e-11, 5.168262387349193e-12, -4.3045788699253914e-13,
    4.3265957431549404e-14, -5.069034095935236e-15, 6.748072215733873e-16, -1.0011513723467786e-16,
    1.6305919233744186e-17,
};

// x sqrt(pi x / 2) (Y0 cos(a) - J0 sin(a)), a = x - 1 pi / 4, u = 128 / x^2 - 1, x >= 8: 15 terms, error 2.7e-17
__constant REAL J0_SIN[] = {
    -0.12444683684269607, 0.0005470815954089319, -5.9315987288485175e-06, 1.4377965798375193e-07,
    -5.817532749493056e-09, 3.376097523734991e-10, -2.565397936797308e-11, 2.404916100281365e-12,
    -2.6690625482579414e-13, 3.4041800321963686e-14, -4.87994410531204e-15, 7.729703176242605e-16,
    -1.3348852171502517e-16, 2.4865952389390515e-17, -4.952892629886516e-18,
};

// sqrt(pi x / 2) (J1 cos(a) + Y1 sin(a)), a = x - 3 pi / 4, u = 128 / x^2 - 1, x >= 8: 13 terms, error 1.1e-17
__constant REAL J1_COS[] = {
    1.0009030408600137, 0.0008989898330859408, -3.987284300488908e-06, 6.177633960644299e-08, -1.8718907491063067e-09,
    8.816898659582339e-11, -5.704863640395645e-12, 4.699195515230542e-13, -4.6842237839904895e-14,
    5.452674896044717e-15, -7.221180842274018e-16, 1.0667689114335412e-16, -1.7312313216116335e-17,
};

// x sqrt(pi x / 2) (Y1 cos(a) - J1 sin(a)), a = x - 3 pi / 4, u = 128 / x^2 - 1, x >= 8: 15 terms, error 4.8e-17
__constant REAL J1_SIN[] = {
    0.3742222965562826, -0.0007702178839325664, 7.3108922063643636e-06, -1.676782510726674e-07, 6.583354662120443e-09,
    -3.749090950541556e-10, 2.8121750359748866e-11, -2.61145253946232e-12, 2.8774212663332235e-13,
    -3.649001916061838e-14, 5.206626366226707e-15, -8.215318025458595e-16, 1.4141084390211833e-16,
    -2.626761589838529e-17, 5.2192649196714085e-18,
};

#define ROOT_HALF ((REAL)0.7071067811865476)
#define TWO_OVER_PI ((REAL)0.6366197723675814)

// size (p cos(a) - q sin(a)) and size (p sin(a) + q cos(a)), a = x - pi/4 (order 0) or x - 3 pi/4 (order 1), x >= 8
SCALAR REAL far_bessel(REAL x, int order, int second) {
  REAL u = (REAL)128 / x / x - (REAL)1, s = sin(x), c = cos(x);
  REAL p = order ? CHEBYSHEV(J1_COS, u) : CHEBYSHEV(J0_COS, u);
  REAL q = (order ? CHEBYSHEV(J1_SIN, u) : CHEBYSHEV(J0_SIN, u)) / x;
  REAL cosine = (order ? s - c : c + s) * ROOT_HALF, sine = (order ? -(s + c) : s - c) * ROOT_HALF;
  return sqrt(TWO_OVER_PI / x) * (second ? p * sine + q * cosine : p * cosine - q * sine);
}
SCALAR REAL s_j0(REAL x) {
  x = fabs(x);
  return x <= (REAL)8 ? CHEBYSHEV(J0_NEAR, x * x / (REAL)32 - (REAL)1) : far_bessel(x, 0, 0);
}
SCALAR REAL s_j1(REAL x) {
  REAL size = fabs(x);
  if (size <= (REAL)8) return CHEBYSHEV(J1_NEAR, x * x / (REAL)32 - (REAL)1) * x;
  return x < (REAL)0 ? -far_bessel(size, 1, 0) : far_bessel(size, 1, 0);
}
SCALAR REAL s_y0(REAL x) {
  if (!(x > (REAL)0)) return x == (REAL)0 ? -(REAL)INFINITY : (REAL)NAN;
  if (x > (REAL)8) return far_bessel(x, 0, 1);
  return CHEBYSHEV(Y0_NEAR, x * x / (REAL)32 - (REAL)1) + TWO_OVER_PI * log(x / (REAL)2) * s_j0(x);
}
SCALAR REAL s_y1(REAL x) {
  if (!(x > (REAL)0)) return x == (REAL)0 ? -(REAL)INFINITY : (REAL)NAN;
  if (x > (REAL)8) return far_bessel(x, 1, 1);
  REAL smooth = CHEBYSHEV(Y1_NEAR, x * x / (REAL)32 - (REAL)1) * x;
  return smooth + TWO_OVER_PI * (log(x / (REAL)2) * s_j1(x) - (REAL)1 / x);
}
SCALAR REAL s_spherical_j0(REAL x) {
  if (isinf(x)) return (REAL)0;
  return fabs(x) < (REAL)1e-4 ? (REAL)1 - x * x / (REAL)6 : sin(x) / x;
}

WIDEN1(s_j0)
WIDEN1(s_j1)
WIDEN1(s_y0)
WIDEN1(s_y1)
WIDEN1(s_spherical_j0)
