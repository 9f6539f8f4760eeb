# Two images: `monitor`, which has no Airflow in it, and `airflow`, which is Airflow with the plugin, the DAGs
# and what those need. Only instructions that every builder knows: BuildKit is not needed.

# Where these come from, so that a release can name them by digest (docker-compose.digests.yaml).
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm
ARG AIRFLOW_IMAGE=apache/airflow:3.3.2-python3.11


FROM $PYTHON_IMAGE AS monitor-build
RUN python -m venv --without-pip /opt/windsock
COPY requirements/monitor.txt /src/requirements/
RUN pip --python /opt/windsock/bin/python install --no-cache-dir --require-hashes \
    -r /src/requirements/monitor.txt
COPY LICENSE README.md pyproject.toml /src/
COPY templates /src/templates
COPY monitor /src/monitor
COPY client /src/client
RUN pip --python /opt/windsock/bin/python install --no-cache-dir --no-deps /src /src/client


FROM $PYTHON_IMAGE AS monitor
# A fixed uid: it owns the files in the volume, whatever later images hold.
RUN groupadd --gid 10001 windsock \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/windsock --shell /usr/sbin/nologin windsock \
 && install -d -o windsock -g windsock -m 0700 /var/lib/windsock
COPY --from=monitor-build /opt/windsock /opt/windsock
ENV PATH=/opt/windsock/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    WINDSOCK_HOME=/var/lib/windsock \
    WINDSOCK_HOST=0.0.0.0 \
    WINDSOCK_PORT=8090
USER 10001:10001
WORKDIR /var/lib/windsock
EXPOSE 8090
# Slim images have no curl. An answer other than 2xx raises.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['WINDSOCK_PORT'] + '/readyz', timeout=5)"]
ENTRYPOINT ["windsock"]
CMD ["serve"]
# At the end: another commit makes no layer anew.
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.title="Windsock monitor" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.licenses="Apache-2.0"


FROM $AIRFLOW_IMAGE AS airflow
COPY --chown=airflow:root requirements/airflow-3.3.2.txt /home/airflow/windsock-lock.txt
# What the DAGs need and this image lacks, with the lock's versions and hashes. What the image has, it keeps:
# its providers were tested with that.
RUN needs= \
 && for name in cloudpickle joblib narwhals numpy pandas python-dateutil pytz scikit-learn scipy six threadpoolctl tzdata; do \
      pip show --quiet $name 2>/dev/null || needs="$needs $name"; \
    done \
 && awk -v needs="$needs " '/^[a-z]/ { name = $1; sub("==.*", "", name); keep = index(needs, " " name " ") } keep' \
      /home/airflow/windsock-lock.txt >/home/airflow/windsock-needs.txt \
 && pip install --no-cache-dir --no-deps --require-hashes -r /home/airflow/windsock-needs.txt \
 && python -c 'import pandas, sklearn.linear_model, airflow.providers.fab, airflow.providers.smtp, psycopg2, asyncpg, airflow.providers.celery, celery, redis'
# Mounted volumes take their owner from here. The empty configuration file keeps Airflow from writing one:
# every setting comes from the environment, and the root file system can be read-only.
RUN mkdir -p /opt/airflow/models /opt/airflow/spool && touch /opt/airflow/airflow.cfg
# Some libraries write into the home when they are imported, and it may be read-only.
ENV XDG_CACHE_HOME=/tmp/.cache XDG_CONFIG_HOME=/tmp/.config XDG_DATA_HOME=/tmp/.data
COPY --chown=airflow:root compose/airflow /opt/windsock
COPY --chown=airflow:root plugins /opt/airflow/plugins
COPY --chown=airflow:root dags /opt/airflow/dags
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.title="Airflow with the Windsock plugin and DAGs" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.licenses="Apache-2.0"
