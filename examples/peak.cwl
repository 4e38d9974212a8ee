# cwltool peak.cwl
cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
inputs:
  prefix:
    type: string[]
    default: [concmem, run, --quiet, --json, peak.json, --]
    inputBinding: {position: 0}
  program:
    type: string[]
    default: [python3, -c, "import time; block = bytearray(300 << 20); time.sleep(0.4); del block; time.sleep(1.8)"]
    inputBinding: {position: 1}
outputs:
  peak_bytes:
    type: long
    outputBinding:
      glob: peak.json
      loadContents: true
      outputEval: $(JSON.parse(self[0].contents).peak.bytes)
