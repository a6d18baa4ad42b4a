// Package sql holds the tables and functions of schema towpath: the one implementation of every rule about processes.
// psql, a JDBC client and the worker call the same functions.
package sql
