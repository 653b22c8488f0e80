# space.gp -- space and write amplification, memory, reopening.
load 'bars.gp'
