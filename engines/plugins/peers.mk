# The engines of others.  A row: $(eval $(call peer,ENGINE,SOURCE,HEADER,LIBRARIES AND FLAGS,PACKAGE)); SOURCE.c stands here, PACKAGE is
# Debian's.  One source may make several engines: PEER is the name of the one that is built.
ROCKSDB_VERSION := $(shell sed -n 's/^\#define ROCKSDB_[A-Z]* \([0-9]*\)$$/\1/p' /usr/include/rocksdb/version.h 2>/dev/null | paste -sd.)
$(eval $(call peer,rocksdb,rocksdb,rocksdb/c.h,-lrocksdb -DROCKSDB_VERSION='"$(ROCKSDB_VERSION)"',librocksdb-dev))
$(eval $(call peer,tkrzw-hash,tkrzw,tkrzw_langc.h,-DTKRZW_HASH -ltkrzw,libtkrzw-dev))
$(eval $(call peer,tkrzw-tree,tkrzw,tkrzw_langc.h,-DTKRZW_TREE -ltkrzw,libtkrzw-dev))
$(eval $(call peer,tkrzw-tiny,tkrzw,tkrzw_langc.h,-DTKRZW_TINY -ltkrzw,libtkrzw-dev))
$(eval $(call peer,kyoto-hash,kyoto,kclangc.h,-DKYOTO_HASH -lkyotocabinet,libkyotocabinet-dev))
$(eval $(call peer,kyoto-tree,kyoto,kclangc.h,-DKYOTO_TREE -lkyotocabinet,libkyotocabinet-dev))
$(eval $(call peer,lmdb,lmdb,lmdb.h,-llmdb,liblmdb-dev))
$(eval $(call peer,bdb,bdb,db.h,-ldb,libdb5.3-dev))
$(eval $(call peer,wiredtiger,wiredtiger,wiredtiger.h,-lwiredtiger,libwiredtiger-dev))
$(eval $(call peer,sqlite,sqlite,sqlite3.h,-lsqlite3,libsqlite3-dev))
$(eval $(call peer,redis,redis,hiredis/hiredis.h,-lhiredis,libhiredis-dev redis-server))
