#!/bin/sh
# The stock server takes its certificates as one SSLConfig text proto with the PEM texts inside,
# Kubernetes keeps them as the three files of a TLS secret.
#
#   write-ssl-config.sh SECRET_FOLDER FILE
set -eu
umask 077

field() {
  printf '%s:\n' "$1"
  sed 's/\r$//; s/.*/  "&\\n"/' "$2"
}

{
  field server_key "$1/tls.key"
  field server_cert "$1/tls.crt"
  field custom_ca "$1/ca.crt"
  echo 'client_verify: true'
} > "$2"
