#!/bin/sh
# rpcd's object `dusk`: called with `list`, or with `call`, a method, and its arguments on standard input.

exec /usr/sbin/dusk rpcd "$@"
