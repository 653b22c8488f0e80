# throughput.gp -- operations per second: the engine's own time, and all in.
load 'bars.gp'
