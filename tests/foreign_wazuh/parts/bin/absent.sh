#!/bin/sh
# Never runs; its configuration is always good.
exit 0
