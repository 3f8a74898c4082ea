// One query's group against the two blocks in Z16 and Z17.
#define PAIR(at, low, high) \
	VPBROADCASTD at(AX), Z18 \
	VPDPBUSD Z18, Z16, low   \
	VPDPBUSD Z18, Z17, high

// The sums of one query over two blocks; rows of queries are 4*TileRows bytes apart.
#define STORE(at, low, high) \
	VMOVDQU32 low, at(DI) \
	VMOVDQU32 high, (at+64)(DI)

#define LOAD(at, low, high) \
	VPBROADCASTD at(CX), low \
	VMOVDQA32 low, high

