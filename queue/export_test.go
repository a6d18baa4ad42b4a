package queue

const MigrateLock = migrateLock
