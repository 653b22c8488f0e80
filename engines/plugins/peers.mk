# The engines of others.  A row: $(eval $(call peer,ENGINE,SOURCE,HEADER,LIBRARIES AND FLAGS,PACKAGE)); SOURCE.c stands here, PACKAGE is
# Debian's.  One source may make several engines: PEER is the name of the one that is built.
