# The unmodified RA from PyPI: docker build -f deploy/docker/upki-ra.Dockerfile -t upki-ra . in the root of the source.
FROM python:3.11-slim-bookworm
RUN pip install --no-cache-dir upki-ra==0.1.6 \
    && useradd --uid 10002 --user-group --no-create-home --home-dir /var/lib/upki-ra --shell /usr/sbin/nologin upki-ra \
    && install -d -o upki-ra -g upki-ra -m 0700 /var/lib/upki-ra
COPY deploy/upki-ra/start.py /usr/local/lib/upki-ra/start.py
USER 10002:10002
ENV UPKI_DATA_DIR=/var/lib/upki-ra PYTHONDONTWRITEBYTECODE=1
VOLUME /var/lib/upki-ra
EXPOSE 8443
ENTRYPOINT ["python", "/usr/local/lib/upki-ra/start.py"]
