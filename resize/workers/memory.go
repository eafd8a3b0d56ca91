package workers

// DefaultMemory is Config.Memory where that is 0.
const DefaultMemory = 512 << 20
