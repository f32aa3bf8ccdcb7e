#include "textflag.h"

// func prefetchForWrite(p unsafe.Pointer)
TEXT ·prefetchForWrite(SB), NOSPLIT|NOFRAME, $0-8
	MOVD p+0(FP), R0
	PRFM (R0), PSTL1KEEP
	RET
