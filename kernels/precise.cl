// Included before math.cl where settings.precise asks for the driver's own elementary functions.
#define CLTORCH_PRECISE 1
