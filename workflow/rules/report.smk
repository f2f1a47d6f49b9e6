rule make_report:
    input:
        tables=get_table_sheets(),
        figures=get_drawings(),
        results=f"{RESULTS}/results.csv",
        captions=get_captions_of_report(),
    output:
        page=report(
            f"{RESULTS}/report.html",
            "../report/report.rst",
            category="Summary",
            labels={"page": "everything on one page"},
        ),
    log:
        f"{LOGS}/make_report.log",
    benchmark:
        f"{JOBS}/make_report.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=get_settings(),
        code=get_code("make-report"),
        jobs=JOBS,
        config=SETTINGS,
    message:
        "One page with everything"
    shell:
        "python -m opentrans make-report --config {params.config} --results {input.results} --tables {input.tables}"
        " --figures {input.figures} --captions {input.captions} --jobs {params.jobs} --output {output.page}"
        " > {log} 2>&1"
