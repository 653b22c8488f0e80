# cost.gp -- what one operation costs: CPU time, system calls, allocations, bytes, flushes.
load 'bars.gp'
