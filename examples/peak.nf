// nextflow run peak.nf
process measured {
    output:
    path 'peak.json'

    script:
    """
    concmem run --quiet --json peak.json -- sort -S 100M /etc/services > sorted.txt
    """
}

workflow {
    measured() | map { new groovy.json.JsonSlurper().parse(it).peak.bytes } | view { "peak: $it bytes" }
}
