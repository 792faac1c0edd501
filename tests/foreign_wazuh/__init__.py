"""An installation of other daemons' behaviour, so that `--wazuh DIR` is no empty promise."""
